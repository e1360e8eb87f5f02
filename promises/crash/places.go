package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
)

// Places are the destinations, reached past relays and proxies: somebody changes there what Millrace has stored and not
// published yet, so that its revision must be closed and the next one planned.
type Places struct {
	store       *s3.Client
	bucket      string
	prefix      string
	databaseURL string
	schema      string
	left        atomic.Int64 // uploads that were begun, for sweeps to take back
}

// scheduledPrefix begins the names of the exports that schedules start: nobody starts them again, so nobody spoils them.
const scheduledPrefix = "scheduled"

// spoils has what is stored changed before it is published. The workers are held at a place between the two meanwhile.
func spoils(destination string) func(context.Context, *Stage, *rand.Rand, string) ([]*Service, error) {
	if destination == "postgres" {
		return spoilsRows
	}
	return spoilsObjects
}

// spoilsRows needs only one run that is about to be published: its transaction proves by itself.
func spoilsRows(ctx context.Context, stage *Stage, _ *rand.Rand, list string) ([]*Service, error) {
	const between = "postgres.publish.begun=wait"
	armed := stage.arm(between + "@1")
	if awaitAnyHit(ctx, armed, between, exportHitWithin) == nil {
		stage.disarm(armed)
		return nil, nil
	}
	runs, err := stage.Places.removeRows(ctx)
	return stage.goOnSpoiled(armed, list, runs, err), nil
}

// spoilsObjects must not remove an object that is proved already, for nothing could tell between proof and manifest. So no
// worker may prove meanwhile: those that are awake are held before it, and those that wake as soon as they do. One that sleeps
// may tell later of a proof, but of none of a run that still writes.
func spoilsObjects(ctx context.Context, stage *Stage, _ *rand.Rand, list string) ([]*Service, error) {
	const between = "s3.receipt=wait"
	const held = between + ";s3.prove=wait"
	stage.Asleep.ArmWoken(held)
	defer stage.Asleep.ArmWoken("")
	began := time.Now()
	for len(stage.atWork()) < len(stage.awake()) && time.Since(began) < exportHitWithin {
		wait(ctx, 50*time.Millisecond) // for those that were killed just now
	}
	awake := stage.awake()
	armed := arm(awake, held)
	if len(armed) < len(awake) {
		stage.disarm(armed)
		return nil, nil
	}
	if awaitAnyHit(ctx, armed, between, exportHitWithin) == nil {
		stage.disarm(armed)
		return nil, nil
	}
	var runs []string
	var err error
	for err == nil && len(runs) == 0 && time.Since(began) < 2*exportHitWithin {
		wait(ctx, 200*time.Millisecond)
		runs, err = stage.Places.removeObjects(ctx, stage.Exports.writing(ctx))
	}
	return stage.goOnSpoiled(armed, list, runs, err), nil
}

// goOnSpoiled frees who is held, and notes which runs are spoiled; nobody is armed any more if none is, or if the place could
// not be asked, which may itself be on its way up again.
func (s *Stage) goOnSpoiled(armed []*Service, list string, runs []string, err error) []*Service {
	for _, run := range runs {
		s.Exports.spoil(run)
	}
	if err != nil || len(runs) == 0 {
		s.disarm(armed)
		return nil
	}
	arm(armed, list)
	return armed
}

func (s *Stage) disarm(armed []*Service) {
	for _, w := range armed {
		_ = w.Arm("")
	}
}

// leavesUploads begins uploads that nobody ends, at keys of exports whose next runs are near, and has the store say that
// they are old: those runs sweep them.
func leavesUploads(ctx context.Context, stage *Stage, _ *rand.Rand, list string) ([]*Service, error) {
	armed := stage.arm(list)
	begun := 0
	for _, name := range stage.Exports.coming("s3") {
		if stage.Places.leaveUpload(ctx, stage.Store, name) == nil { // the store itself may be on its way up again
			begun++
		}
	}
	if begun == 0 {
		stage.disarm(armed)
		return nil, nil
	}
	return armed, nil
}

// leaveUpload begins an upload at a key of an export, of an interval that nobody exports.
func (p *Places) leaveUpload(ctx context.Context, relay *StoreRelay, name string) error {
	key := fmt.Sprintf("%s/%s/%s/r0001-00000.parquet", p.prefix, name, export.Interval{Start: time.Unix(0, 0), End: time.Unix(60, 0)}.Key())
	begun, err := p.store.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &p.bucket, Key: &key})
	if err != nil {
		return fmt.Errorf("begin an upload at %s: %w", key, err)
	}
	p.left.Add(1)
	relay.age(*begun.UploadId)
	return nil
}

// removeObjects removes a file of each run that is being written and has no mark of its end, and names the runs.
func (p *Places) removeObjects(ctx context.Context, writing map[string]bool) (runs []string, err error) {
	pages := s3.NewListObjectsV2Paginator(p.store, &s3.ListObjectsV2Input{Bucket: &p.bucket, Prefix: aws.String(p.prefix + "/")})
	ended := map[string]bool{}
	files := map[string]string{} // run to a file of it
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the bucket: %w", err)
		}
		for _, object := range page.Contents {
			key := strings.TrimPrefix(*object.Key, p.prefix+"/")
			names := strings.Split(strings.TrimPrefix(key, marksFolder), "/")
			if len(names) < 3 {
				continue
			}
			run := names[0] + " " + names[1]
			switch {
			case strings.HasPrefix(key, marksFolder) && strings.HasSuffix(key, "/manifest.json"):
				ended[run] = true
			case !strings.HasPrefix(key, marksFolder):
				files[run] = *object.Key
			}
		}
	}
	for run, key := range files {
		if ended[run] || !writing[run] {
			continue
		}
		if _, err := p.store.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &p.bucket, Key: aws.String(key)}); err != nil {
			return runs, fmt.Errorf("remove %s: %w", key, err)
		}
		runs = append(runs, run)
	}
	return runs, nil
}

// removeRows removes a row of each staging table, and names the runs.
func (p *Places) removeRows(ctx context.Context) (runs []string, err error) {
	connection, err := pgx.Connect(ctx, p.databaseURL)
	if err != nil {
		return nil, fmt.Errorf("reach postgres: %w", err)
	}
	defer func() { _ = connection.Close(context.WithoutCancel(ctx)) }()
	rows, err := connection.Query(ctx, `SELECT relname::text, coalesce(obj_description(oid, 'pg_class'), '') FROM pg_class
		WHERE relnamespace = $1::regnamespace AND relkind = 'r' AND starts_with(relname, 'millrace_') AND relname NOT IN ('millrace_runs', 'millrace_plans')`, p.schema)
	if err != nil {
		return nil, err
	}
	staged := map[string]string{}
	var table, label string
	if _, err := pgx.ForEachRow(rows, []any{&table, &label}, func() error { staged[table] = label; return nil }); err != nil {
		return nil, err
	}
	if _, err := connection.Exec(ctx, "SET lock_timeout = '500ms'"); err != nil {
		return nil, err
	}
	for table, label := range staged {
		var of struct {
			Run string `json:"run"`
		}
		if json.Unmarshal([]byte(label), &of) != nil || strings.HasPrefix(of.Run, scheduledPrefix) {
			continue
		}
		name := pgx.Identifier{p.schema, table}.Sanitize()
		tag, err := connection.Exec(ctx, "DELETE FROM "+name+" WHERE ctid IN (SELECT ctid FROM "+name+" LIMIT 1)")
		if err != nil || tag.RowsAffected() == 0 {
			continue // gone by now, or in somebody's hands
		}
		if names := strings.Split(of.Run, "/"); len(names) == 3 {
			runs = append(runs, names[0]+" "+names[1])
		}
	}
	return runs, nil
}
