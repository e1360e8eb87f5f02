package s3

import (
	"context"
	"log/slog"
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
	act := "sweep uploads"
	folder := d.under() + d.template().folder(run.Export)
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
			if own := strings.HasPrefix(key, d.under()) && d.template().makes(run.Export, key[len(d.under()):]); !own || begun.IsZero() || now.Sub(begun) <= limit {
				continue
			}
			if err := d.sweepAway(ctx, openUpload{key: key, id: aws.ToString(one.UploadId)}); err != nil {
				return err
			}
		}
	}
	return nil
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
