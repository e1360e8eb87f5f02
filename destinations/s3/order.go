package s3

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// Under `order: strict` no object of a first revision appears after one of a later interval, whoever works them, zombies
// too. There is no lock; who writes first and looks then is seen by who does the same:
//
//	prepare  plan.json; then look: has a later interval a turn or an end? This one is too late, and closed
//	show     look: has each earlier plan an end? turn.json; look again; then complete, chunk by chunk
//	close    the mark; then take back every upload under the revision's keys
//
// Whose turn came before the look that follows another's plan is found by that look, and the other is closed. Whose turn
// came after it finds the plan when it looks again, and waits. A completion is sent only where its upload was there before
// the look that found no closed mark; so who closes, and takes back after the mark what is there, leaves nothing that could
// still appear. Who finds a closed mark before him takes back again, for its author may have been killed between the two.
//
// Looking back ends at a published first revision: whatever is earlier had ended when that one's files appeared.

func (d *Destination) inOrder(run export.Run) bool {
	return d.strict && run.Revision == export.FirstRevision
}

// marksOf holds the marks of all runs of an export.
func (d *Destination) marksOf(run export.Run) string { return d.below(marksName, run.Export) + "/" }

func (d *Destination) turnKey(run export.Run) string {
	return fmt.Sprintf("%sr%04d/turn.json", d.marksFolder(run), run.Revision)
}

// turnMark says that a run's files may appear from now on.
type turnMark struct {
	Run export.Run    `json:"run"`
	By  export.Author `json:"by"`
}

// closeWhenLate closes a revision whose files would appear after those of a later interval, and answers nil when it is not
// too late. The plan must be written already.
func (d *Destination) closeWhenLate(ctx context.Context, plan export.Plan) (*export.Manifest, *export.Closed, error) {
	own := d.marksFolder(plan.Run)
	late := ""
	err := d.listAfter(ctx, d.marksOf(plan.Run), strings.TrimSuffix(own, "/")+"0", func(key string, _ time.Duration) bool {
		if strings.HasSuffix(key, "/turn.json") || strings.HasSuffix(key, "/manifest.json") {
			late, _, _ = strings.Cut(strings.TrimPrefix(key, d.marksOf(plan.Run)), "/")
		}
		return late == ""
	})
	if err != nil || late == "" {
		return nil, nil, err
	}
	ending, err := d.Close(ctx, export.Closed{
		Version: export.ClosedVersion, Run: plan.Run, DefinitionHash: plan.DefinitionHash, By: plan.By,
		Reason: fmt.Sprintf("the files of %s come before it in their order (order: strict): this interval's are written as a later revision, apart", late),
	})
	return ending.Published, ending.Closed, err
}

// turn makes it the run's turn, or says for which other it waits. One that was planned longer ago than it would be tried is
// closed.
func (d *Destination) turn(ctx context.Context, plan export.Plan) (waits string, err error) {
	const looks = 2
	for look := range looks {
		before, err := d.notEnded(ctx, plan.Run)
		if err != nil {
			return "", err
		}
		for _, other := range before {
			limit := time.Duration(other.plan.Definition.WithDefaults().GiveUpAfter)
			if other.age <= limit {
				return fmt.Sprintf("%s has to be published first: workflow %s planned it %s ago, and it is closed %s after that", other.plan.Run, other.plan.By.WorkflowID, other.age.Round(time.Second), limit), nil
			}
			slog.Warn("an earlier run was given up and holds the order: it is closed", "run", other.plan.Run.String(), "for", plan.Run.String())
			if _, err := d.Close(ctx, export.Closed{
				Version: export.ClosedVersion, Run: other.plan.Run, DefinitionHash: other.plan.DefinitionHash, By: plan.By,
				Reason: fmt.Sprintf("it was not published within %s after its plan, and held the files of %s back (order: strict)", limit, plan.Run),
			}); err != nil {
				return "", err
			}
		}
		if look+1 == looks {
			break
		}
		content, err := mark(turnMark{Run: plan.Run, By: plan.By})
		if err != nil {
			return "", err
		}
		if _, err := d.settle(ctx, d.turnKey(plan.Run), content, "s3.turn"); err != nil {
			return "", err
		}
	}
	return "", nil
}

// planned is a first revision without an end.
type planned struct {
	plan export.Plan
	// age is how long ago its plan was written, by the store's clock.
	age time.Duration
}

// marksSeen is what a listing shows of an interval's first revision.
type marksSeen struct {
	name  string
	plan  bool
	ended bool
	age   time.Duration
}

// Looking back begins with the last intervals of the run's own length.
var lookBack = []int{100, 10_000}

// notEnded finds the first revisions of earlier intervals whose files could still appear, oldest first. Uploads of closed ones
// are taken back once more.
func (d *Destination) notEnded(ctx context.Context, run export.Run) ([]planned, error) {
	for _, intervals := range lookBack {
		from := export.Interval{Start: run.Start.Add(-time.Duration(intervals) * run.Length()), End: run.End}
		found, settled, err := d.notEndedSince(ctx, run, d.marksOf(run)+from.Key())
		if err != nil || settled {
			return found, err
		}
	}
	found, _, err := d.notEndedSince(ctx, run, "")
	return found, err
}

// notEndedSince looks back to a key; settled tells that nothing before it matters.
func (d *Destination) notEndedSince(ctx context.Context, run export.Run, after string) (found []planned, settled bool, err error) {
	folder, own := d.marksOf(run), d.marksFolder(run)
	var seen []marksSeen
	err = d.listAfter(ctx, folder, after, func(key string, age time.Duration) bool {
		if key >= own {
			return false
		}
		name, markName, _ := strings.Cut(strings.TrimPrefix(key, folder), "/")
		if len(seen) == 0 || seen[len(seen)-1].name != name {
			seen = append(seen, marksSeen{name: name})
		}
		switch last := &seen[len(seen)-1]; markName {
		case "r0001/plan.json":
			last.plan, last.age = true, age
		case "r0001/manifest.json":
			last.ended = true
		}
		return true
	})
	if err != nil {
		return nil, false, err
	}
	for _, one := range slices.Backward(seen) {
		if !one.plan {
			continue
		}
		content, err := d.read(ctx, folder+one.name+"/r0001/plan.json")
		if err != nil {
			return nil, false, err
		}
		plan, claim, err := export.ReadPlan(content)
		if err == nil && claim != nil {
			continue // its rows are a longer run's, which has a plan of its own
		}
		if err != nil || plan.Run.Interval.Key() != one.name {
			return nil, false, d.notOurs(folder+one.name+"/r0001/plan.json", "is not a plan that this program can read: %v", err)
		}
		if !one.ended {
			found = append(found, planned{*plan, one.age})
			continue
		}
		content, err = d.read(ctx, d.manifestKey(plan.Run))
		if err != nil {
			return nil, false, err
		}
		published, _, err := d.readCommitMark(plan.Run, content)
		if err != nil {
			return nil, false, err
		}
		if published != nil {
			settled = true
			break
		}
		if err := d.fence(ctx, *plan); err != nil {
			return nil, false, err
		}
	}
	slices.Reverse(found)
	return found, settled, nil
}

// fence takes back every upload under the keys of a closed revision's plan, so that none of its objects can appear any more.
func (d *Destination) fence(ctx context.Context, plan export.Plan) error {
	at, err := d.asPlanned(plan)
	if err != nil || !at.inOrder(plan.Run) {
		return err
	}
	return at.takeBackAll(ctx, at.keysOf(plan.Run, len(plan.Chunks)))
}

// fenceRun is fence for a run whose plan is yet to be read. One without a plan has nothing.
func (d *Destination) fenceRun(ctx context.Context, run export.Run) error {
	content, err := d.read(ctx, d.planKey(run))
	if err != nil || content == nil {
		return err
	}
	plan, claim, err := d.readPlan(run, content)
	if err != nil || claim != nil {
		return err
	}
	return d.fence(ctx, plan)
}

// asPlanned is the destination as a plan's definition has it: its keys may be others.
func (d *Destination) asPlanned(plan export.Plan) (*Destination, error) {
	form, err := readSettings(plan.Definition.Settings)
	if err != nil {
		return nil, err
	}
	at := *d
	at.key, at.encoding, at.strict = form.Key, form.encoding(), plan.Definition.Order == export.OrderStrict
	return &at, nil
}

func (d *Destination) keysOf(run export.Run, chunks int) []string {
	var keys []string
	for chunk := range chunks {
		keys = append(keys, d.chunkKey(run, chunk))
	}
	return keys
}

// takeBackAll ends every open upload under some keys.
func (d *Destination) takeBackAll(ctx context.Context, keys []string) error {
	return each(ctx, keys, func(ctx context.Context, key string) error {
		act := "take back uploads of " + key
		pages := s3.NewListMultipartUploadsPaginator(d.client, &s3.ListMultipartUploadsInput{Bucket: &d.place.bucket, Prefix: &key})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return d.explain(ctx, act, err)
			}
			for _, one := range page.Uploads {
				if aws.ToString(one.Key) != key {
					continue
				}
				if err := failpoint.Hit(ctx, "s3.fence.abort"); err != nil {
					return d.explain(ctx, act, err)
				}
				if err := d.abort(ctx, openUpload{key: key, id: aws.ToString(one.UploadId)}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// listAfter calls each with the keys of a folder that come after one, and how old each object is by the store's clock, until it
// answers false.
func (d *Destination) listAfter(ctx context.Context, folder, after string, each func(key string, age time.Duration) bool) error {
	input := &s3.ListObjectsV2Input{Bucket: &d.place.bucket, Prefix: &folder}
	if after != "" {
		input.StartAfter = &after
	}
	pages := s3.NewListObjectsV2Paginator(d.client, input)
	for pages.HasMorePages() {
		request, cancel := context.WithTimeout(ctx, requestTimeout)
		page, err := pages.NextPage(request)
		cancel()
		if err != nil {
			return d.explain(ctx, "list "+folder, err)
		}
		now, told := awsmiddleware.GetServerTime(page.ResultMetadata)
		for _, entry := range page.Contents {
			age := time.Duration(0) // of a store that does not tell its time nothing is ever old
			if told && entry.LastModified != nil {
				age = now.Sub(*entry.LastModified)
			}
			if !each(aws.ToString(entry.Key), age) {
				return nil
			}
		}
	}
	return nil
}
