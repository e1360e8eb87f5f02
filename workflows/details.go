package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/export"
)

// show makes the run visible to people: search attributes, details and queries.
func (r *exportRun) show(ctx workflow.Context) error {
	if err := showRun(ctx, r.definition, r.run); err != nil {
		return err
	}
	if err := workflow.SetQueryHandlerWithOptions(ctx, QueryProgress, func() (export.Progress, error) {
		return r.progress, nil
	}, workflow.QueryHandlerOptions{Description: "Where the run stands: step, chunks, rows and bytes."}); err != nil {
		return err
	}
	return workflow.SetQueryHandlerWithOptions(ctx, QueryPlan, func() (*export.Plan, error) {
		return r.plan, nil
	}, workflow.QueryHandlerOptions{Description: "The plan that the run works by, null before there is one."})
}

// at notes where the run stands, for queries and in the workflow's current details.
func (r *exportRun) at(ctx workflow.Context, step string) {
	now := workflow.Now(ctx)
	if r.durations == nil {
		r.durations = map[string]int64{}
	}
	if !r.since.IsZero() {
		r.durations[r.progress.Step] += now.Sub(r.since).Milliseconds()
	}
	r.since = now
	r.progress.Step = step
	if r.taken == nil {
		r.taken = map[string]bool{}
	}
	r.taken[step] = true
	workflow.SetCurrentDetails(ctx, r.details())
}

var storyOfARun = []struct{ step, title string }{
	{"finding", "Look for a published run"},
	{"waiting", "Wait for the watermark"},
	{"claiming", "Claim the intervals of the grid"},
	{"planning", "Count rows, cut chunks"},
	{"preparing", "Write the plan"},
	{"writing", "Write the chunks"},
	{"showing", "Show the files in order"},
	{"proving", "Prove"},
	{"publishing", "Publish"},
	{"recording", "Record in the ledger"},
}

// details is the progress table in the Temporal UI, in its Markdown.
func (r *exportRun) details() string {
	var text strings.Builder
	fmt.Fprintf(&text, "**%s** · team %s · %s\n\n", r.run.Export, r.definition.Team, r.run.Interval)
	text.WriteString("| step | |\n|---|---|\n")
	for _, part := range storyOfARun {
		if part.step == "showing" && !r.definition.InOrder(r.run) || part.step == "claiming" && !r.spans && r.covers.Start.IsZero() {
			continue
		}
		mark := ""
		switch {
		case part.step == r.progress.Step:
			mark = "now"
		case r.taken[part.step]:
			mark = "done"
		case r.published != nil:
			mark = "not needed"
		}
		if part.step == "writing" && r.plan != nil {
			mark = strings.TrimSpace(fmt.Sprintf("%s %d of %d chunks, %s of %s rows, %s", mark, r.progress.ChunksDone, r.progress.Chunks,
				count(r.progress.RowsDone), count(r.progress.Rows), bytes(r.progress.BytesDone)))
		}
		fmt.Fprintf(&text, "| %s | %s |\n", part.title, mark)
	}
	if r.replaces != nil {
		fmt.Fprintf(&text, "\nExported again, to take the place of revision %d: %s\n", r.replaces.Revision, r.replaces.Reason)
	}
	if !r.covers.Start.IsZero() {
		fmt.Fprintf(&text, "\nIt is worked for %s, which was claimed for it.\n", r.covers)
	}
	for i, part := range r.parts {
		if i == partsTold {
			fmt.Fprintf(&text, "\n- and %d more\n", len(r.parts)-i)
			break
		}
		fmt.Fprintf(&text, "\n- %s, a run by itself%s\n", part.Interval, map[bool]string{true: ": published"}[part.Published])
	}
	for _, closed := range r.closed {
		fmt.Fprintf(&text, "\nRevision %d was closed by workflow %s: %s\n", closed.Run.Revision, closed.By.WorkflowID, closed.Reason)
	}
	if r.published != nil {
		fmt.Fprintf(&text, "\nPublished before, by workflow %s at %s: %s rows in %s.\n", r.published.By.WorkflowID,
			r.published.By.At.UTC().Format(time.RFC3339), count(r.published.Rows), plural(r.published.Files, "file"))
	}
	return text.String()
}

// partsTold bounds the runs that are told of an interval that was cut.
const partsTold = 30

func (r *exportRun) failureDetails(kind export.Kind, message string) string {
	return r.details() + "\n" + ending("Failed", kind, message)
}

// ending says how a run ended that did not succeed: its kind, what happened, what such a kind means, and the page that helps.
func ending(how string, kind export.Kind, message string) string {
	text := fmt.Sprintf("**%s (%s):** %s\n", how, kind, message)
	if page := kind.Runbook(); page != "" {
		text += fmt.Sprintf("\n%s What to do: `%s`\n", kind.Sentence(), page)
	}
	return text
}

// count writes a number for people: 950, 12.3k, 1.30M.
func count(n uint64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.1fk", float64(n)/1e3)
	}
	return fmt.Sprintf("%.2fM", float64(n)/1e6)
}

// bytes writes a size for people, in decimal units: 950 B, 12.3 kB, 1.3 MB.
func bytes(n uint64) string {
	size, unit := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB"}
	for size >= 1000 && unit < len(units)-1 {
		size, unit = size/1000, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", size, units[unit])
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
