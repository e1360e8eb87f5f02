package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/export"
)

// StoreJudge holds the published files against the events. It knows no more of Millrace than a reader's guide says: the
// highest revision whose manifest is published counts, and the manifest names the files. ClickHouse reads them by itself.
type StoreJudge struct {
	rows     driver.Conn
	store    *s3.Client
	bucket   string
	prefix   string // of all exports
	endpoint string // the store's, for ClickHouse
	key      string // access key and secret, as two literals of SQL
	spoiled  func(run string) bool
	known    map[string]string

	mu       sync.Mutex // of what follows, for manifests are checked some at a time
	files    map[string]bool
	expected map[string]amount
	// Checked counts manifests whose files were read, Closed the marks of closed revisions.
	Checked, Closed int
}

// amount is what rows come to: their number, their different events, and a hash of all values.
type amount struct{ rows, events, hash uint64 }

func (a amount) String() string {
	return fmt.Sprintf("%d rows of %d events, hash %x", a.rows, a.events, a.hash)
}

// plainManifest is what a reader needs of a manifest.
type plainManifest struct {
	Closed string `json:"closed"` // why the revision will never be published, instead of all the rest
	Run    struct {
		Export   string    `json:"export"`
		Start    time.Time `json:"start"`
		End      time.Time `json:"end"`
		Revision int       `json:"revision"`
	} `json:"run"`
	Rows     uint64 `json:"rows"`
	Receipts []struct {
		Location string `json:"location"`
		Rows     uint64 `json:"rows"`
	} `json:"receipts"`
}

const marksFolder = "_millrace/"

// list gives all keys with their entity tags.
func (j *StoreJudge) list(ctx context.Context) (map[string]string, error) {
	found := map[string]string{}
	pages := s3.NewListObjectsV2Paginator(j.store, &s3.ListObjectsV2Input{Bucket: &j.bucket, Prefix: aws.String(j.prefix + "/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the bucket: %w", err)
		}
		for _, object := range page.Contents {
			found[strings.TrimPrefix(*object.Key, j.prefix+"/")] = aws.ToString(object.ETag)
		}
	}
	return found, nil
}

// Glance reads the manifests that came since the last glance, all files that they name, and holds their rows against the
// interval's in the table. A manifest never changes and never goes, nor do the files that it names.
func (j *StoreJudge) Glance(ctx context.Context) (faults []string, err error) {
	objects, err := j.list(ctx)
	if err != nil {
		return nil, err
	}
	var fresh []string
	for key, tag := range objects {
		if !strings.HasPrefix(key, marksFolder) || !strings.HasSuffix(key, "/manifest.json") {
			continue
		}
		switch was, is := j.known[key]; {
		case !is:
			fresh = append(fresh, key)
		case was != tag:
			faults = append(faults, fmt.Sprintf("%s was written again", key))
		}
	}
	for key := range j.known {
		if _, is := objects[key]; !is {
			faults = append(faults, fmt.Sprintf("%s is gone", key))
		}
	}
	for key := range j.files {
		if _, is := objects[key]; !is {
			faults = append(faults, fmt.Sprintf("%s is gone, and a manifest names it", key))
		}
	}
	slices.Sort(fresh)
	found, failed := make([][]string, len(fresh)), make([]error, len(fresh))
	var group errgroup.Group
	group.SetLimit(checkedAtOnce)
	for i, key := range fresh {
		group.Go(func() error {
			found[i], failed[i] = j.check(ctx, key, objects)
			return failed[i]
		})
	}
	err = group.Wait()
	for i, key := range fresh {
		if failed[i] == nil {
			j.known[key] = objects[key]
			faults = append(faults, found[i]...)
		}
	}
	return faults, err
}

// checkedAtOnce is how many manifests are checked at the same time.
const checkedAtOnce = 4

func (j *StoreJudge) read(ctx context.Context, key string) (manifest plainManifest, err error) {
	answer, err := j.store.GetObject(ctx, &s3.GetObjectInput{Bucket: &j.bucket, Key: aws.String(path.Join(j.prefix, key))})
	if err != nil {
		return manifest, fmt.Errorf("read %s: %w", key, err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return manifest, fmt.Errorf("read %s: %w", key, err)
	}
	return manifest, json.Unmarshal(content, &manifest)
}

// check reads one manifest and its files.
func (j *StoreJudge) check(ctx context.Context, key string, objects map[string]string) (faults []string, err error) {
	manifest, err := j.read(ctx, key)
	if err != nil {
		return nil, err
	}
	if manifest.Closed != "" { // the mark of a closed revision: nobody reads it
		j.note(func() { j.Closed++ })
		if run := manifest.Run.Export + " " + (export.Interval{Start: manifest.Run.Start, End: manifest.Run.End}).Key(); !j.spoiled(run) {
			return []string{fmt.Sprintf("%s closes a revision that nobody has spoiled: %s", key, manifest.Closed)}, nil
		}
		return nil, nil
	}
	var files []string
	for _, receipt := range manifest.Receipts {
		files = append(files, receipt.Location)
		j.note(func() { j.files[receipt.Location] = true })
		if objects[receipt.Location] == "" {
			return []string{fmt.Sprintf("%s is published and names %s, which is not there", key, receipt.Location)}, nil
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(files)))) != len(files) {
		faults = append(faults, fmt.Sprintf("%s names a file twice", key))
	}
	want, err := j.source(ctx, manifest.Run.Start, manifest.Run.End)
	if err != nil {
		return nil, err
	}
	var got amount
	if len(files) > 0 {
		if got, err = j.stored(ctx, files); err != nil {
			return nil, err
		}
	}
	j.note(func() { j.Checked++ })
	if got != want || manifest.Rows != want.rows {
		faults = append(faults, fmt.Sprintf("%s says %d rows; its files have %s, the interval has %s", key, manifest.Rows, got, want))
	}
	return faults, nil
}

// The values of a row, in the table and in a file alike.
const (
	eventStructure = "team_id Int64, uuid UUID, event String, distinct_id String, timestamp DateTime64(6, ''UTC''), properties String, received_at DateTime64(6, ''UTC''), inserted_at DateTime64(6, ''UTC'')"
	eventAmount    = "count(), uniqExact(uuid), sum(cityHash64(tuple(team_id, uuid, event, distinct_id, timestamp, properties, received_at, inserted_at)))"
	whileInside    = "inserted_at >= fromUnixTimestamp64Micro(%d) AND inserted_at < fromUnixTimestamp64Micro(%d)"
)

// source is what the table has of an interval. It is asked once: the rows of a closed interval are fixed.
func (j *StoreJudge) source(ctx context.Context, start, end time.Time) (amount, error) {
	key := start.String() + end.String()
	var a amount
	is := false
	if j.note(func() { a, is = j.expected[key] }); is {
		return a, nil
	}
	query := fmt.Sprintf("SELECT "+eventAmount+" FROM events WHERE team_id = 1 AND "+whileInside, start.UnixMicro(), end.UnixMicro())
	if err := j.rows.QueryRow(ctx, query).Scan(&a.rows, &a.events, &a.hash); err != nil {
		return a, fmt.Errorf("read an interval of the table: %w", err)
	}
	j.note(func() { j.expected[key] = a })
	return a, nil
}

func (j *StoreJudge) note(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
}

// stored is what files have, all of one format.
func (j *StoreJudge) stored(ctx context.Context, files []string) (a amount, err error) {
	format := "JSONEachRow"
	if strings.HasSuffix(files[0], ".parquet") {
		format = "Parquet"
	}
	var each []string
	for _, file := range files {
		each = append(each, fmt.Sprintf("SELECT * FROM s3('%s/%s/%s/%s', %s, '%s', '%s')", j.endpoint, j.bucket, j.prefix, file, j.key, format, eventStructure))
	}
	query := "SELECT " + eventAmount + " FROM (" + strings.Join(each, " UNION ALL ") + ") SETTINGS date_time_input_format = 'best_effort'"
	if err := j.rows.QueryRow(ctx, query).Scan(&a.rows, &a.events, &a.hash); err != nil {
		return a, fmt.Errorf("have ClickHouse read %s: %w", strings.Join(files, ", "), err)
	}
	return a, nil
}

// Published tells whether a run is published, in whatever revision.
func (j *StoreJudge) Published(ctx context.Context, t *target) (bool, error) {
	for revision := 1; revision < 20; revision++ {
		key := fmt.Sprintf("%s%s/%s/r%04d/manifest.json", marksFolder, t.definition.Name, t.interval.Key(), revision)
		if j.known[key] == "" {
			return false, nil
		}
		manifest, err := j.read(ctx, key)
		if err != nil || manifest.Closed == "" {
			return err == nil, err
		}
	}
	return false, nil
}

// Unnamed counts files that no manifest names, and uploads that are open: what kills have left, and no reader goes by.
func (j *StoreJudge) Unnamed(ctx context.Context) (files, uploads int, err error) {
	objects, err := j.list(ctx)
	if err != nil {
		return 0, 0, err
	}
	for key := range objects {
		if !strings.HasPrefix(key, marksFolder) && !j.files[key] {
			files++
		}
	}
	answer, err := j.store.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &j.bucket})
	if err != nil {
		return files, 0, fmt.Errorf("list the open uploads: %w", err)
	}
	return files, len(answer.Uploads), nil
}
