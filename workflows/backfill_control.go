package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/export"
)

// Wish is the argument of the updates of a backfill.
type Wish struct {
	// Note says who wants it, and why; it is shown.
	Note string `json:"note,omitempty"`
	// Parallel is for set_parallelism: 1 to export.MaxParallel.
	Parallel int `json:"parallel,omitempty"`
}

// show makes the backfill visible to people, and takes their wishes.
func (b *backfill) show(ctx workflow.Context) error {
	if err := workflow.UpsertTypedSearchAttributes(ctx, AttributeExport.ValueSet(b.Definition.Name), AttributeDestination.ValueSet(b.Definition.Destination)); err != nil {
		return err
	}
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryProgress, func() (export.BackfillProgress, error) {
		return b.progress, nil
	}, workflow.QueryHandlerOptions{Description: "Where the backfill stands: intervals, rows, bytes, rate and when it will be done."}); err != nil {
		return err
	}
	b.told(ctx)
	for _, update := range []struct {
		name, description string
		validate          func(Wish) error
		do                func(Wish)
	}{
		{UpdatePause, `Start nothing more; what runs goes on. {"note": "…"}`, b.mayPause, func(wish Wish) {
			b.progress.State, b.progress.Note = export.BackfillPaused, wish.Note
		}},
		{UpdateResume, `Go on after a pause. {}`, b.mayResume, func(Wish) {
			b.progress.State, b.progress.Note = export.BackfillRunning, ""
			b.progress.Recent = nil // the pause is not part of the rate
		}},
		{UpdateSetParallelism, `Change how many runs are under way at once. {"parallel": 8}`, b.maySetParallelism, func(wish Wish) {
			b.progress.Parallel = wish.Parallel
		}},
		{UpdateCancel, `Start nothing more, and cancel what runs. {"note": "…"}`, b.mayCancel, func(wish Wish) {
			b.progress.State, b.progress.Note = export.BackfillCancelling, wish.Note
			if b.cancelRuns != nil {
				b.cancelRuns()
			}
		}},
	} {
		if err := workflow.SetUpdateHandlerWithOptions(ctx, update.name, func(ctx workflow.Context, wish Wish) (export.BackfillProgress, error) {
			update.do(wish)
			b.told(ctx)
			return b.progress, nil
		}, workflow.UpdateHandlerOptions{Validator: update.validate, Description: update.description}); err != nil {
			return err
		}
	}
	return nil
}

func (b *backfill) mayPause(wish Wish) error {
	switch b.progress.State {
	case export.BackfillRunning:
		return noParallel(wish)
	case export.BackfillPaused:
		return export.Errorf(export.KindConfig, "the backfill is paused already: resume it, or cancel it")
	}
	return b.isEnding()
}

func (b *backfill) mayResume(wish Wish) error {
	switch b.progress.State {
	case export.BackfillPaused:
		return noParallel(wish)
	case export.BackfillRunning:
		return export.Errorf(export.KindConfig, "the backfill is not paused: there is nothing to resume")
	}
	return b.isEnding()
}

func (b *backfill) maySetParallelism(wish Wish) error {
	if b.stopped() || b.progress.State == export.BackfillDone {
		return b.isEnding()
	}
	return b.ValidateParallel(wish.Parallel)
}

func (b *backfill) mayCancel(wish Wish) error {
	if b.progress.State == export.BackfillCancelling || b.progress.State == export.BackfillDone {
		return b.isEnding()
	}
	return noParallel(wish)
}

func (b *backfill) isEnding() error {
	return export.Errorf(export.KindConfig, "the backfill is %s: it takes no more wishes; start another one", b.progress.State)
}

func noParallel(wish Wish) error {
	if wish.Parallel != 0 {
		return export.Errorf(export.KindConfig, "parallel: %d has no meaning here: only set_parallelism takes it", wish.Parallel)
	}
	return nil
}

// told shows where the backfill stands.
func (b *backfill) told(ctx workflow.Context) {
	b.progress.Rate(workflow.Now(ctx))
	workflow.SetCurrentDetails(ctx, b.details())
}

// details is the progress table in the Temporal UI, in its Markdown.
func (b *backfill) details() string {
	p := &b.progress
	var text strings.Builder
	fmt.Fprintf(&text, "**%s** · backfill of %s, %s\n\n", p.Export, p.Span, b.order())
	fmt.Fprintf(&text, "**%s**", p.State)
	if p.Note != "" {
		fmt.Fprintf(&text, ": %s", p.Note)
	}
	if b.redo != nil {
		fmt.Fprintf(&text, "\n\nWhat was published before %s is exported again: %s", b.redo.Before.Format(time.RFC3339), b.redo.Reason)
	}
	text.WriteString("\n\n| intervals | |\n|---|---|\n")
	fmt.Fprintf(&text, "| all | %d |\n| published by this backfill | %d: %s rows, %s |\n| published before | %d |\n| failed | %d |\n| running | %d of %d at once |\n| waiting | %d |\n",
		p.Intervals, p.Published, count(p.Rows), bytes(p.Bytes), p.AlreadyDone, p.Failed, p.Running, p.Parallel, p.Waiting())
	if p.ETA != nil {
		fmt.Fprintf(&text, "\n%s rows a second, %.1f intervals a minute; done at about %s\n", count(uint64(p.RowsPerSecond)), p.IntervalsPerMinute, p.ETA.Format(time.RFC3339))
	}
	if b.standing != "" {
		fmt.Fprintf(&text, "\nA worker's governor: %s\n", b.standing)
	}
	for _, failure := range p.Failures {
		fmt.Fprintf(&text, "\n- %s failed (%s): %s\n", failure.Interval, failure.Kind, failure.Error)
	}
	if more := p.Failed - len(p.Failures); more > 0 {
		fmt.Fprintf(&text, "\n- and %d more\n", more)
	}
	return text.String()
}

func (b *backfill) order() string {
	order := "oldest first"
	if b.NewestFirst {
		order = "newest first"
	}
	if b.Step != 0 {
		order += fmt.Sprintf(", by steps of %s", b.Step)
	}
	if b.End == nil {
		order += ", until the present"
	}
	return order
}
