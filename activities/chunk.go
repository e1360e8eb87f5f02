package activities

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

// ChunkTask is one chunk of a prepared run. Definition is the one of the plan that holds.
type ChunkTask struct {
	RunTask
	PlanHash string       `json:"plan_hash"`
	Chunk    export.Chunk `json:"chunk"`
}

// ChunkProgress is what a chunk's heartbeat tells: liveness and progress, never the truth.
type ChunkProgress struct {
	Bytes uint64 `json:"bytes"`
}

// finishOnStop is how long a chunk may go on once its worker was told to stop, out of the 90 s a worker has.
const finishOnStop = 60 * time.Second

var errWorkerStopping = errors.New("the worker is stopping: the chunk was handed back")

// WriteChunk writes one chunk, has ClickHouse hash its rows in the source, has the chunk read back unless the definition
// leaves that out, and returns its receipt. A chunk that is not what the source has fails here, so that a crash repeats
// the proof of one chunk and not of all.
//
// Its heartbeat is the progress of its bytes, so one that hangs times out. Cancelled, it ends its queries and its upload
// with the next heartbeat; one that hangs hears of nothing, and ends them by itself after a heartbeat timeout, when the
// server has given its attempt up.
func (s *Steps) WriteChunk(ctx context.Context, task ChunkTask) (export.Receipt, error) {
	destination, definition, err := s.open(ctx, task.Definition)
	if err != nil {
		return export.Receipt{}, failure(ctx, err)
	}
	done, err := s.giveWay(ctx)
	if err != nil {
		return export.Receipt{}, err
	}
	var passed atomic.Uint64
	defer func() { done(task.Chunk.Rows, passed.Load()) }()
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go handBackOnStop(working, activity.GetWorkerStopChannel(ctx), stop)
	hangs := endWhenItHangs(activity.GetInfo(ctx).HeartbeatTimeout, stop)
	defer hangs.Stop()

	progress := func() {
		hangs.progressed()
		activity.RecordHeartbeat(ctx, ChunkProgress{Bytes: passed.Load()})
	}
	proved := provedChunk{run: task.Run, definition: definition, chunk: task.Chunk, destination: destination, progress: progress}
	if err := proved.compare(working); err != nil {
		return export.Receipt{}, failure(ctx, err)
	}
	// The source is hashed beside the chunk, so that it takes what cores the encoding leaves, and no time of its own.
	source := s.beginHashing(working, proved, stop)
	query := chunkQuery(definition, task.Run, task.Chunk, "chunk")
	query.Settings = s.reads(ctx)
	receipt, err := destination.WriteChunk(working, destinations.ChunkTask{
		Run: task.Run, Chunk: task.Chunk, PlanHash: task.PlanHash,
		Execution: activity.GetInfo(ctx).WorkflowExecution.RunID,
		Compared:  proved.compared,
		Source:    chunkSource{events: s.Events, query: query},
		Progress: func(bytes uint64) {
			passed.Store(bytes)
			progress()
		},
	})
	if err == nil {
		err = s.prove(working, proved, source, &receipt) // what does not show yet is read back when it does
	} else if source.endWith(err, stop); source.err != nil && errors.Is(context.Cause(working), source.err) {
		err = source.err // it ended the chunk
	}
	if err != nil && errors.Is(context.Cause(working), errHangs) {
		return receipt, failure(ctx, export.Errorf(export.KindDestinationUnavailable, "write chunk %d: no byte has moved for %s: %w", task.Chunk.Index, hangs.after, err))
	}
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(working), errWorkerStopping) {
		return receipt, notYet(errWorkerStopping.Error(), TypeWorkerStopping, time.Second)
	}
	if err != nil && receipt.Upload != "" {
		s.takeBack(ctx, destination, task.Run, receipt)
	}
	if err != nil && s.isBulk(ctx) && ctx.Err() == nil {
		s.tellStrain(err)
	}
	receipt.Attempt = activity.GetInfo(ctx).Attempt
	return receipt, failure(ctx, err)
}

var errHangs = errors.New("the chunk hangs")

// hanging ends a chunk that makes no progress.
type hanging struct {
	*time.Timer
	after time.Duration
}

func endWhenItHangs(after time.Duration, stop context.CancelCauseFunc) hanging {
	return hanging{Timer: time.AfterFunc(after, func() { stop(errHangs) }), after: after}
}

func (h hanging) progressed() { h.Reset(h.after) }

// handBackOnStop gives a stopping worker's chunk some time to finish, and then ends it.
func handBackOnStop(working context.Context, stopping <-chan struct{}, stop context.CancelCauseFunc) {
	select {
	case <-stopping:
	case <-working.Done():
		return
	}
	timer := time.NewTimer(finishOnStop)
	defer timer.Stop()
	select {
	case <-timer.C:
		stop(errWorkerStopping)
	case <-working.Done():
	}
}

// chunkSource reads a chunk from ClickHouse.
type chunkSource struct {
	events *eventstore.Store
	query  eventstore.ChunkQuery
}

// Open begins to read; see destinations.Source.
func (c chunkSource) Open(ctx context.Context, encoding export.Encoding) (io.ReadCloser, error) {
	c.query.Encoding = encoding
	return c.events.OpenChunk(ctx, c.query)
}

// chunkQuery names the rows of a chunk by the definition of a plan; act says in the server's log what they are read for. The
// zero chunk is the whole interval.
func chunkQuery(definition export.Definition, run export.Run, chunk export.Chunk, act string) eventstore.ChunkQuery {
	columns, _ := definition.Exported() // a definition that was opened is valid
	return eventstore.ChunkQuery{
		Interval: run.Interval, Team: definition.Team, Model: definition.Model, Columns: columns, Filters: definition.Filters,
		Chunk: chunk, LogComment: "millrace " + act + " " + run.String(),
	}
}
