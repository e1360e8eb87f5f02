package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

// WatermarkTask is the time that the watermark must have passed.
type WatermarkTask struct {
	End time.Time `json:"end"`
	// Settle, when it is not zero, is waited for instead: this long after End, by ClickHouse's clock.
	Settle export.Duration `json:"settle,omitempty"`
}

const (
	// watermarkLook bounds one look, so that a waiting run never holds a slot for long.
	watermarkLook = 20 * time.Second
	// watermarkPause is between two looks within an attempt: the loader publishes at most once a second.
	watermarkPause = 500 * time.Millisecond
	// watermarkAgain is the longest delay until the next attempt.
	watermarkAgain = 15 * time.Second
)

// AwaitWatermark returns when no row with an arrival time before the end can appear any more, or, of a table that others
// load, when the settle delay that its model declares has passed. While the watermark is
// close it looks again for some seconds; otherwise it gives its slot back with a benign error, which shows in the UI
// as what the run is waiting for, and comes again. It reads and never writes.
func (s *Steps) AwaitWatermark(ctx context.Context, task WatermarkTask) (export.Closing, error) {
	giveBack := time.NewTimer(watermarkLook)
	defer giveBack.Stop()
	ticker := time.NewTicker(watermarkPause)
	defer ticker.Stop()
	if task.Settle > 0 {
		return s.awaitSettled(ctx, task)
	}
	for {
		watermark, err := s.Events.Watermark(ctx)
		if err != nil {
			return export.Closing{}, failure(ctx, err)
		}
		if covers(watermark, task.End) {
			return export.Closing{Rule: export.RuleWatermark, Watermark: watermark.At.UTC().Format(microseconds)}, nil
		}
		waiting := waitsFor(watermark.Complete, watermark.At, watermark.HeldBy, watermark.Reason, task.End)
		missing := task.End.Sub(watermark.At)
		if !watermark.Complete || missing > watermarkLook {
			return export.Closing{}, notYet(waiting, export.KindSourceBehind, watermarkAgain)
		}
		activity.RecordHeartbeat(ctx, waiting)
		select {
		case <-ticker.C:
		case <-giveBack.C:
			return export.Closing{}, notYet(waiting, export.KindSourceBehind, time.Second)
		case <-activity.GetWorkerStopChannel(ctx):
			return export.Closing{}, notYet("the worker is stopping: another one goes on", TypeWorkerStopping, time.Second)
		case <-ctx.Done():
			return export.Closing{}, failure(ctx, ctx.Err())
		}
	}
}

const microseconds = "2006-01-02T15:04:05.000000Z"

// awaitSettled looks at ClickHouse's clock, once: it knows how long there is to wait.
func (s *Steps) awaitSettled(ctx context.Context, task WatermarkTask) (export.Closing, error) {
	now, err := s.Events.Now(ctx)
	if err != nil {
		return export.Closing{}, failure(ctx, err)
	}
	settled := task.End.Add(time.Duration(task.Settle))
	if missing := settled.Sub(now); missing > 0 {
		return export.Closing{}, notYet(settlesAt(now, settled, task.Settle), export.KindSourceBehind, missing)
	}
	return export.Closing{Rule: export.RuleSettle, Watermark: now.Format(microseconds), Settle: task.Settle}, nil
}

// covers tells whether all rows of an interval that ends then are there. The watermark says that nothing will appear at or
// before it; the interval ends before end. So its last microsecond has to be covered, and end itself need not.
func covers(watermark eventstore.Watermark, end time.Time) bool {
	return watermark.Complete && !watermark.At.Before(end.Add(-time.Microsecond))
}

// incomplete says why rows with an arrival time before end may still appear; empty when none can. It looks once.
func (s *Steps) incomplete(ctx context.Context, settle export.Duration, end time.Time) (string, error) {
	if settle > 0 {
		now, err := s.Events.Now(ctx)
		if settled := end.Add(time.Duration(settle)); err == nil && now.Before(settled) {
			return settlesAt(now, settled, settle), nil
		}
		return "", err
	}
	watermark, err := s.Events.Watermark(ctx)
	if err != nil || covers(watermark, end) {
		return "", err
	}
	return waitsFor(watermark.Complete, watermark.At, watermark.HeldBy, watermark.Reason, end), nil
}

// settlesAt is what people read while a run waits for a settle delay.
func settlesAt(now, settled time.Time, settle export.Duration) string {
	return fmt.Sprintf("ClickHouse's clock says %s, needs %s: %s after the interval's end, as the model declares",
		now.Format(time.RFC3339), settled.UTC().Format(time.RFC3339), settle)
}

// waitsFor is what people read while a run waits.
func waitsFor(complete bool, at time.Time, heldBy, reason string, end time.Time) string {
	if !complete {
		return fmt.Sprintf("no watermark yet, needs %s: %s", end.UTC().Format(time.RFC3339), reason)
	}
	return fmt.Sprintf("watermark %s, needs %s; held by partition %s", at.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339), heldBy)
}
