package eventstore

import (
	"context"
	"time"

	"github.com/millrace/millrace/export"
)

// Status is how a run ended.
type Status string

// The statuses. A row that says published is never replaced by one that does not.
const (
	StatusPublished  Status = "published"
	StatusFailed     Status = "failed"
	StatusCancelled  Status = "cancelled"
	StatusSuperseded Status = "superseded" // another execution works a later revision
)

// LedgerRow is a run in the ledger: what there is to know of it when Temporal has long forgotten it.
type LedgerRow struct {
	Run    export.Run
	Status Status

	Team        export.Team
	Model       string
	Connection  string
	Destination string

	DefinitionHash string
	PlanHash       string
	Closing        export.Closing

	Rows  uint64
	Bytes uint64
	// Files is how many objects, tables or messages' batches hold the rows: one for each chunk.
	Files uint64
	// Proof is the level of proof: export.ProofStream. Empty when the run was not proved.
	Proof string
	// Manifest is where the manifest lies, in the destination's words. Empty when the run was not published.
	Manifest string

	// WorkflowID and RunID name the execution that published the run, or that failed.
	WorkflowID string
	RunID      string
	// StartedAt is when that execution began, PublishedAt when the run was published; zero when it was not.
	StartedAt   time.Time
	PublishedAt time.Time
	// RecordedAt is set by RecordRun, by ClickHouse's clock.
	RecordedAt time.Time
	// Attempts is the sum of the attempts of all chunks.
	Attempts uint32

	// ErrorKind and Error say why a run that is not published ended. Error is a sentence for people, without secrets.
	ErrorKind export.Kind
	Error     string
}

// RecordRun writes a run into the ledger. Written twice it is there once: the later row of a run replaces the earlier,
// except that published is never replaced by another status.
func (s *Store) RecordRun(ctx context.Context, row LedgerRow) error { return errNotBuilt }

// RunFilter narrows Runs.
type RunFilter struct {
	// Export is the export's name; all exports when empty.
	Export string
	// Since leaves out the runs whose interval ended before it; no bound when zero.
	Since time.Time
	// Limit bounds the answer; 100 when 0.
	Limit int
}

// Runs reads the ledger, the latest interval first, then by export and revision.
func (s *Store) Runs(ctx context.Context, filter RunFilter) ([]LedgerRow, error) {
	return nil, errNotBuilt
}
