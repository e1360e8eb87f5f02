package export

import (
	"fmt"
	"time"
)

// Run is one export of one interval. It is identity by data: object keys, staging, run records and ledger rows carry
// it, and two workflows with the same Run do the same work to the same effect.
type Run struct {
	Export string `json:"export"`
	Interval
	// Revision counts the redos of a run, from 1.
	Revision int `json:"revision"`
}

// FirstRevision is the revision of a run that was never redone.
const FirstRevision = 1

// String is for messages: "shop-events 2026-11-23T10:00:00Z–2026-11-23T11:00:00Z r1".
func (r Run) String() string { return fmt.Sprintf("%s %s r%d", r.Export, r.Interval, r.Revision) }

// WorkflowID is the id that people see: <export>-<end>, as Temporal's schedules form it, for an interval of the
// grid's own length today; with both ends for another. It is never relied on: a run is safe by data at the destination.
func (r Run) WorkflowID(g Grid) string {
	id := WorkflowIDPrefix(r.Export) + r.End.UTC().Format(time.RFC3339)
	if !g.Today().LastEnded(r.End).Start.Equal(r.Start) {
		id = WorkflowIDPrefix(r.Export) + r.Start.UTC().Format(time.RFC3339) + "--" + r.End.UTC().Format(time.RFC3339)
	}
	if r.Revision > FirstRevision {
		id += fmt.Sprintf("-r%d", r.Revision)
	}
	return id
}

// WorkflowIDPrefix is what the ids of an export's runs begin with.
func WorkflowIDPrefix(name string) string { return name + "-" }

// Author is the workflow execution that wrote a plan or a manifest.
type Author struct {
	WorkflowID string    `json:"workflow_id"`
	RunID      string    `json:"run_id"`
	At         time.Time `json:"at"`
}
