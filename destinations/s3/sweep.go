package s3

import (
	"context"
	"encoding/json"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// sweepTime bounds the sweep of one run, which must not hold it up: what is left is for the next.
const sweepTime = 20 * time.Second

// sweep takes back uploads under the export's own keys that are older than give_up_after: whoever began one was killed,
// for the run that it belongs to was given up since. A zombie's younger upload stays, for it may be a living one's. Ages are
// the store's own, both ends by its clock; a store that does not tell its time is not swept. An upload that stays costs
// room and nothing else, so a sweep that fails is told and ends nothing. (MinIO lists no uploads by folder, and ends old ones
// by itself.)
func (d *Destination) sweep(ctx context.Context, plan export.Plan) {
	limit := time.Duration(plan.Definition.GiveUpAfter)
	if limit <= 0 { // a plan of before definitions had their defaults in it
		limit = time.Duration(export.DefaultGiveUpAfter)
	}
	sweeping, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	if err := d.sweepOlder(sweeping, plan.Run, limit); err != nil {
		slog.Warn("old unfinished uploads stay in the bucket", "export", plan.Run.Export, "bucket", d.place.bucket, "error", err)
	}
}

func (d *Destination) sweepOlder(ctx context.Context, run export.Run, limit time.Duration) error {
	folders := []string{d.template().folder(run.Export)}
	if d.strict {
		folders = append(folders, apartName+"/"+folders[0])
	}
	for _, folder := range folders {
		if err := d.sweepFolder(ctx, run, d.under()+folder, limit); err != nil {
			return err
		}
	}
	return nil
}

func (d *Destination) sweepFolder(ctx context.Context, run export.Run, folder string, limit time.Duration) error {
	act := "sweep uploads"
	pages := s3.NewListMultipartUploadsPaginator(d.client, &s3.ListMultipartUploadsInput{Bucket: &d.place.bucket, Prefix: &folder})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return d.explain(ctx, act, err)
		}
		now, told := awsmiddleware.GetServerTime(page.ResultMetadata)
		if !told {
			return nil
		}
		for _, one := range page.Uploads {
			key, begun := aws.ToString(one.Key), aws.ToTime(one.Initiated)
			own := strings.HasPrefix(key, folder) && d.template().makes(run.Export, strings.TrimPrefix(key[len(d.under()):], apartName+"/"))
			if !own || begun.IsZero() || now.Sub(begun) <= limit {
				continue
			}
			if held, err := d.held(ctx, run, key, now.Sub(begun)); err != nil || held {
				if err != nil {
					return err
				}
				continue
			}
			if err := d.sweepAway(ctx, openUpload{key: key, id: aws.ToString(one.UploadId)}); err != nil {
				return err
			}
		}
	}
	return nil
}

var instants = regexp.MustCompile(instantPattern)

// held tells whether an upload belongs to a run of another interval that may still need it to have its files appear in order: it
// has no end yet, and its own give_up_after, which may be longer, has not passed.
func (d *Destination) held(ctx context.Context, run export.Run, key string, age time.Duration) (bool, error) {
	ends := instants.FindAllString(key, -1)
	if !d.strict || len(ends) < 2 {
		return false, nil
	}
	first := d.marksOf(run) + slices.Min(ends) + "--" + slices.Max(ends) + "/r0001/"
	ended, err := d.read(ctx, first+"manifest.json")
	if err != nil || ended != nil {
		return false, err
	}
	content, err := d.read(ctx, first+"plan.json")
	if err != nil || content == nil {
		return false, err
	}
	var plan export.Plan
	if err := json.Unmarshal(content, &plan); err != nil {
		return false, nil // whoever finds it in his way says so
	}
	return age <= time.Duration(plan.Definition.WithDefaults().GiveUpAfter), nil
}

func (d *Destination) sweepAway(ctx context.Context, old openUpload) error {
	if err := failpoint.Hit(ctx, "s3.sweep.abort"); err != nil {
		return d.explain(ctx, "sweep "+old.key, err)
	}
	if err := d.abort(ctx, old); err != nil {
		return err
	}
	slog.Info("an old unfinished upload is taken back", "bucket", d.place.bucket, "key", old.key, "upload", old.id)
	return d.explain(ctx, "sweep "+old.key, failpoint.Hit(ctx, "s3.sweep.aborted"))
}
