package workflows

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
)

const (
	// maxVerified bounds the intervals of one execution, for the sake of its history.
	maxVerified = 1000
	// verifyingAtOnce is how many intervals are read at a time: a verification takes what live runs leave.
	verifyingAtOnce = 4
	// verifyTime bounds one attempt at an interval; one that hangs is found much sooner by its heartbeat.
	verifyTime = 6 * time.Hour
	// verifyGiveUp bounds the retries of an interval.
	verifyGiveUp = 24 * time.Hour
)

// Verify reads the published intervals of a range again, and holds what lies at the destination against the manifests:
// it reports what is whole, what differs and where, and what is missing. It changes nothing, and may run at any time.
//
// The input is the JSON of an export.VerifyTask, read here and not by the SDK, as that of Export.
func Verify(ctx workflow.Context, input json.RawMessage) (export.VerifyReport, error) {
	task, intervals, err := toVerify(input)
	report := export.VerifyReport{Export: task.Definition.Name, Intervals: []export.Verification{}}
	if err != nil {
		return report, temporal.NewNonRetryableApplicationError(err.Error(), string(export.KindOf(err)), nil)
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: QueueBulk, StartToCloseTimeout: verifyTime, ScheduleToCloseTimeout: verifyGiveUp,
		HeartbeatTimeout: heartbeat, WaitForCancellation: true, RetryPolicy: retries,
		Priority: temporal.Priority{PriorityKey: priorityVerification, FairnessKey: task.Definition.Name},
	})
	report.Intervals = make([]export.Verification, len(intervals))
	done, differ := 0, 0
	show := func() {
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("**%s** · %d of %s verified, %d not as published\n", task.Definition.Name, done, plural(len(intervals), "interval"), differ))
	}
	show()
	places := workflow.NewSemaphore(ctx, verifyingAtOnce)
	group := workflow.NewWaitGroup(ctx)
	var failed error
	for i, interval := range intervals {
		if err := places.Acquire(ctx, 1); err != nil {
			failed = err
			break
		}
		group.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer group.Done()
			defer places.Release(1)
			run := export.Run{Export: task.Definition.Name, Interval: interval, Revision: export.FirstRevision}
			step := activities.VerifyTask{RunTask: activities.RunTask{Definition: task.Definition, Run: run}, Within: task.Span}
			ctx = workflow.WithActivityOptions(ctx, withSummary(ctx, "verify "+interval.String()))
			if err := workflow.ExecuteActivity(ctx, steps.VerifyRun, step).Get(ctx, &report.Intervals[i]); err != nil {
				if failed == nil {
					failed = err
				}
				return
			}
			done++
			if result := report.Intervals[i].Result; result == export.VerifiedDiffers || result == export.VerifiedMissing {
				differ++
			}
			show()
		})
		if failed != nil {
			break
		}
	}
	group.Wait(ctx)
	report.Intervals = slices.DeleteFunc(report.Intervals, func(v export.Verification) bool { return failed == nil && v.Result == "" })
	return report, failed
}

func withSummary(ctx workflow.Context, summary string) workflow.ActivityOptions {
	options := workflow.GetActivityOptions(ctx)
	options.Summary = summary
	return options
}

func toVerify(input json.RawMessage) (export.VerifyTask, []export.Interval, error) {
	var task export.VerifyTask
	if err := json.Unmarshal(input, &task); err != nil {
		return task, nil, export.Errorf(export.KindConfig, "the workflow's input is not the JSON of a verification, such as {\"definition\": {…}, \"span\": {\"start\": \"2026-11-23T10:00:00Z\", \"end\": …}}: %w", err)
	}
	task.Definition = task.Definition.WithDefaults()
	if err := task.Definition.Validate(); err != nil {
		return task, nil, err
	}
	grid, err := task.Definition.Grid()
	if err != nil {
		return task, nil, err
	}
	intervals, err := grid.Split(task.Span)
	if err == nil && len(intervals) > maxVerified {
		err = export.Errorf(export.KindConfig, "%s has %d intervals, at most %d are verified at a time: give a shorter range", task.Span, len(intervals), maxVerified)
	}
	return task, intervals, err
}
