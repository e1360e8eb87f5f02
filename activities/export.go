package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

// RunTask names a run and the definition it is worked by.
type RunTask struct {
	Definition export.Definition `json:"definition"`
	Run        export.Run        `json:"run"`
}

// FindTask is a run that is looked for.
type FindTask struct {
	RunTask
	// Redo asks for the next revision of one that is published; nil for most.
	Redo *export.Redo `json:"redo,omitempty"`
}

// Found is what FindPublished found.
type Found struct {
	// Published is the published run, nil when there is none. It may be a longer one, which covers the interval.
	Published *export.Publication `json:"published,omitempty"`
	// DefinitionHash is the hash of the task's definition with all its defaults, to be held against Published's.
	DefinitionHash string `json:"definition_hash"`
}

// FindPublished looks for a published run of this export and interval. It also is the first to check the definition
// with its destination, so that a wrong one ends the run before anything waits; and so does a redo where no revision can take
// the place of the published one.
func (s *Steps) FindPublished(ctx context.Context, task FindTask) (Found, error) {
	defer alive(ctx)()
	destination, definition, err := s.open(ctx, task.Definition)
	if err != nil {
		return Found{}, failure(ctx, err)
	}
	found := Found{DefinitionHash: definition.Hash()}
	cells, err := cellsOf(destination, definition)
	if err != nil {
		return found, failure(ctx, err)
	}
	manifest, err := cells.covering(ctx, task.Run.Interval)
	if err != nil || manifest == nil {
		return found, failure(ctx, err)
	}
	publication := manifest.Publication()
	found.Published = &publication
	if task.Redo.Asks(publication) {
		return found, failure(ctx, destinations.Replaceable(definition))
	}
	return found, nil
}

// PlanTask is what a plan is computed from.
type PlanTask struct {
	RunTask
	Closing export.Closing `json:"closing"`
	// Replaces is set for the plan of a redo.
	Replaces *export.Replacement `json:"replaces,omitempty"`
	// ChunkRows bounds the rows of a chunk below what the definition says, by what closed revisions have taught; 0 does not.
	ChunkRows uint64 `json:"chunk_rows,omitempty"`
}

// PlanRun computes the chunks of a run. It changes nothing: the plan holds only when PrepareRun has written it.
func (s *Steps) PlanRun(ctx context.Context, task PlanTask) (export.Plan, error) {
	defer alive(ctx)()
	definition, err := destinations.Normalize(task.Definition)
	if err != nil {
		return export.Plan{}, failure(ctx, err)
	}
	definition, err = s.describe(ctx, definition)
	if err != nil {
		return export.Plan{}, failure(ctx, err)
	}
	chunkRows := definition.ChunkRows
	if most := task.ChunkRows; most > 0 && most < chunkRows {
		chunkRows = most
	}
	chunks, err := s.chunks(ctx, definition, task.Run, chunkRows)
	if err != nil {
		return export.Plan{}, failure(ctx, err)
	}
	plan := export.Plan{
		Version: export.PlanVersion, Run: task.Run, Definition: definition, DefinitionHash: definition.Hash(),
		Closing: task.Closing, Replaces: task.Replaces, Chunks: append([]export.Chunk{}, chunks...), By: author(ctx),
	}
	for _, chunk := range chunks {
		plan.Rows += chunk.Rows
	}
	return plan, nil
}

// chunks cuts a run of a described definition into chunks of about so many rows.
func (s *Steps) chunks(ctx context.Context, definition export.Definition, run export.Run, chunkRows uint64) ([]export.Chunk, error) {
	return s.Events.PlanChunks(ctx, planQuery(definition, run, chunkRows, "plan"))
}

// planQuery asks for the chunks of a run, of about so many rows; act says in the server's log what they are planned for.
func planQuery(definition export.Definition, run export.Run, chunkRows uint64, act string) eventstore.PlanQuery {
	rows := chunkQuery(definition, run, export.Chunk{}, act)
	return eventstore.PlanQuery{
		Interval: rows.Interval, Team: rows.Team, Model: rows.Model, Columns: rows.Columns, Filters: rows.Filters,
		TargetRows: chunkRows, TargetBytes: definition.ChunkBytes, LogComment: rows.LogComment,
	}
}

// describe gives the model of a definition its columns, and holds the definition against them.
func (s *Steps) describe(ctx context.Context, definition export.Definition) (export.Definition, error) {
	described, err := s.Events.Describe(ctx, definition.Model)
	if err != nil {
		return definition, err
	}
	definition.Model = described
	return definition, definition.Validate()
}

// PrepareRun writes the plan at the destination, conditionally, and answers with the one that holds.
func (s *Steps) PrepareRun(ctx context.Context, plan export.Plan) (Prepared, error) {
	defer alive(ctx)()
	destination, _, err := s.open(ctx, plan.Definition)
	if err != nil {
		return Prepared{}, failure(ctx, err)
	}
	answer, err := destination.Prepare(ctx, plan)
	if err != nil {
		return Prepared{}, failure(ctx, err)
	}
	prepared := Prepared{Plan: answer.Plan}
	if answer.Published != nil {
		publication := answer.Published.Publication()
		prepared.Published = &publication
	}
	prepared.Closed, prepared.Covered = answer.Closed, answer.Covered
	if closed := answer.Closed; closed != nil && plan.By.RunID != "" && closed.By.RunID == plan.By.RunID {
		// It comes too late for the order of files, and was closed just now.
		task := CloseTask{RunTask: RunTask{Definition: plan.Definition, Run: closed.Run}, Kind: export.KindConfig, Reason: closed.Reason}
		if err := s.Events.RecordRun(ctx, closedRow(task, *closed)); err != nil {
			return Prepared{}, failure(ctx, err)
		}
	}
	return prepared, nil
}

// Prepared is the plan that holds, or the publication that was there before, or the mark of the highest closed revision
// when the plan's own is not open any more, or the claim of a longer run that covers the interval.
type Prepared struct {
	Plan      export.Plan         `json:"plan"`
	Published *export.Publication `json:"published,omitempty"`
	Closed    *export.Closed      `json:"closed,omitempty"`
	Covered   *export.Claim       `json:"covered,omitempty"`
}

// FinishTask is a run whose chunks are all written.
type FinishTask struct {
	Plan     export.Plan      `json:"plan"`
	Receipts []export.Receipt `json:"receipts"`
	// Proof and Durations are set for PublishRun.
	Proof     export.Proof     `json:"proof"`
	Durations map[string]int64 `json:"durations_ms,omitempty"`
}

// Committed is what stands at a revision's commit mark.
type Committed struct {
	export.Publication
	// Closed is the mark of a revision that was closed; nothing was published then, and Publication is empty.
	Closed *export.Closed `json:"closed,omitempty"`
}

// PublishRun commits the run. The answer names who published: another workflow, when it came first; or who closed the
// revision, which is then not published.
func (s *Steps) PublishRun(ctx context.Context, task FinishTask) (Committed, error) {
	defer alive(ctx)() // a database moves rows
	destination, _, err := s.open(ctx, task.Plan.Definition)
	if err != nil {
		return Committed{}, failure(ctx, err)
	}
	drawn := export.NewManifest(task.Plan, task.Receipts, task.Proof, author(ctx))
	drawn.Durations = task.Durations
	manifest, err := destination.Publish(ctx, drawn)
	var closed *export.ClosedError
	if errors.As(err, &closed) {
		return Committed{Closed: &closed.Closed}, nil
	}
	if err != nil {
		return Committed{}, failure(ctx, err)
	}
	s.log().Info("run is published", "run", manifest.Run.String(), "rows", manifest.Rows, "bytes", manifest.Bytes,
		"files", len(manifest.Receipts), "manifest", manifest.Location, "by", manifest.By.WorkflowID)
	return Committed{Publication: manifest.Publication()}, nil
}

// CloseTask is a revision to be closed. The definition is the one that the next revision is worked by.
type CloseTask struct {
	RunTask
	Kind   export.Kind `json:"kind"`
	Reason string      `json:"reason"`
	// ChunkRows bounds the rows of a chunk in the revisions after it; 0 does not.
	ChunkRows uint64 `json:"chunk_rows,omitempty"`
	// Durations is how long the steps took until then, in milliseconds.
	Durations map[string]int64 `json:"durations_ms,omitempty"`
}

// CloseRun closes a revision, unless it is published or closed already; the answer is what stands at its commit mark. Who
// has closed writes it into the ledger, too.
func (s *Steps) CloseRun(ctx context.Context, task CloseTask) (Committed, error) {
	defer alive(ctx)()
	destination, definition, err := s.open(ctx, task.Definition)
	if err != nil {
		return Committed{}, failure(ctx, err)
	}
	by := author(ctx)
	ending, err := destination.Close(ctx, export.Closed{
		Version: export.ClosedVersion, Run: task.Run, Reason: task.Reason, ChunkRows: task.ChunkRows, DefinitionHash: definition.Hash(), By: by,
	})
	if err != nil {
		return Committed{}, failure(ctx, err)
	}
	if ending.Published != nil {
		return Committed{Publication: ending.Published.Publication()}, nil
	}
	if ending.Closed.By.RunID == by.RunID {
		s.log().Warn("revision is closed", "run", task.Run.String(), "kind", task.Kind, "reason", task.Reason)
		if err := s.Events.RecordRun(ctx, closedRow(task, *ending.Closed)); err != nil {
			return Committed{}, failure(ctx, err)
		}
	}
	return Committed{Closed: ending.Closed}, nil
}

// RecordRun writes the ledger row of a published run, from its manifest and nothing else: who finds a run published
// long ago writes the same row. Recording twice leaves one row.
func (s *Steps) RecordRun(ctx context.Context, task RunTask) error {
	defer alive(ctx)()
	destination, _, err := s.open(ctx, task.Definition)
	if err != nil {
		return failure(ctx, err)
	}
	manifest, err := destination.Published(ctx, task.Run)
	if err != nil {
		return failure(ctx, err)
	}
	if manifest == nil {
		return failure(ctx, export.Errorf(export.KindInternal, "%s was published, but its manifest is gone: somebody removed it from the destination", task.Run))
	}
	return failure(ctx, s.Events.RecordRun(ctx, publishedRow(*manifest)))
}

// FailedTask is a run that ended without being published.
type FailedTask struct {
	RunTask
	Kind    export.Kind `json:"kind"`
	Message string      `json:"message"`
	Started time.Time   `json:"started"`
	// Durations is how long the steps took until it failed, in milliseconds.
	Durations map[string]int64 `json:"durations_ms,omitempty"`
}

// RecordFailure writes the ledger row of a run that failed. A later publication of the same run replaces it.
func (s *Steps) RecordFailure(ctx context.Context, task FailedTask) error {
	s.log().Warn("run failed", "run", task.Run.String(), "kind", task.Kind, "error", task.Message)
	return failure(ctx, s.Events.RecordRun(ctx, failedRow(task, author(ctx))))
}

// AbortTask is a run that ended without being published.
type AbortTask struct {
	RunTask
	// Receipts are those of chunks that do not show yet, of a run whose files appear in order.
	Receipts []export.Receipt `json:"receipts,omitempty"`
}

// AbortRun takes back what this execution left unfinished at the destination.
func (s *Steps) AbortRun(ctx context.Context, task AbortTask) error {
	destination, _, err := s.open(ctx, task.Definition)
	if err != nil {
		return failure(ctx, err)
	}
	if files, can := destination.(destinations.ShowsInOrder); can && len(task.Receipts) > 0 {
		if err := files.TakeBack(ctx, task.Run, task.Receipts); err != nil {
			return failure(ctx, err)
		}
	}
	return failure(ctx, destination.Abort(ctx, task.Run, activity.GetInfo(ctx).WorkflowExecution.RunID))
}

// author is the workflow execution that this activity works for.
func author(ctx context.Context) export.Author {
	execution := activity.GetInfo(ctx).WorkflowExecution
	return export.Author{WorkflowID: execution.ID, RunID: execution.RunID, At: time.Now().UTC().Truncate(time.Microsecond)}
}
