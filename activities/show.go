package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// Shown is what became of the files of a run that had to appear in order.
type Shown struct {
	// Receipts are those of the files, which show; nil when not all of them do.
	Receipts []export.Receipt `json:"receipts,omitempty"`
	// Lost are the chunks that have to be written again.
	Lost []int `json:"lost,omitempty"`
	// Closed is the mark of a revision that was closed.
	Closed *export.Closed `json:"closed,omitempty"`
}

// turnAgain is how soon a run looks again whether it is its turn.
const turnAgain = 5 * time.Second

// takeBackTime bounds what is done for a chunk that has failed.
const takeBackTime = 30 * time.Second

// ShowRun has the files of a run appear in order, once it is the run's turn. What another execution wrote is read back here,
// whatever the level of proof, for this one has not seen its bytes.
func (s *Steps) ShowRun(ctx context.Context, task FinishTask) (Shown, error) {
	defer alive(ctx)()
	destination, definition, err := s.open(ctx, task.Plan.Definition)
	if err != nil {
		return Shown{}, failure(ctx, err)
	}
	files, can := destination.(destinations.ShowsInOrder)
	if !can {
		return Shown{}, failure(ctx, export.Errorf(export.KindInternal, "%s is to show its files in order, and %s cannot", task.Plan.Run, definition.Destination))
	}
	answer, err := files.Show(ctx, task.Plan, task.Receipts)
	var closed *export.ClosedError
	switch {
	case errors.As(err, &closed):
		return Shown{Closed: &closed.Closed}, nil
	case err != nil:
		return Shown{}, failure(ctx, err)
	case answer.Waits != "":
		return Shown{}, notYet(answer.Waits, export.KindSourceBehind, turnAgain)
	}
	for i := range answer.Receipts {
		if !answer.Receipts[i].Adopted {
			continue
		}
		if err := s.readShown(ctx, destination, definition, task.Plan.Run, task.Plan.Chunks[i], &answer.Receipts[i]); err != nil {
			return Shown{}, failure(ctx, err)
		}
	}
	return Shown{Receipts: answer.Receipts, Lost: answer.Lost}, nil
}

// ShownChunk is a chunk whose file shows, and is to be read back.
type ShownChunk struct {
	ChunkTask
	Receipt export.Receipt `json:"receipt"`
}

// ReadShown reads back a file that could not be read before it showed, and gives its receipt. It changes nothing.
func (s *Steps) ReadShown(ctx context.Context, task ShownChunk) (export.Receipt, error) {
	destination, definition, err := s.open(ctx, task.Definition)
	if err != nil {
		return task.Receipt, failure(ctx, err)
	}
	err = s.readShown(ctx, destination, definition, task.Run, task.Chunk, &task.Receipt)
	return task.Receipt, failure(ctx, err)
}

func (s *Steps) readShown(ctx context.Context, destination destinations.Destination, definition export.Definition, run export.Run, chunk export.Chunk, receipt *export.Receipt) error {
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go handBackOnStop(working, activity.GetWorkerStopChannel(ctx), stop)
	hangs := endWhenItHangs(activity.GetInfo(ctx).HeartbeatTimeout, stop)
	defer hangs.Stop()
	err := s.readBack(working, provedChunk{run: run, definition: definition, chunk: chunk, destination: destination, progress: func() {
		hangs.progressed()
		activity.RecordHeartbeat(ctx)
	}}, receipt)
	switch cause := context.Cause(working); {
	case err != nil && errors.Is(cause, errHangs):
		return export.Errorf(export.KindDestinationUnavailable, "read back chunk %d: no byte has moved for %s: %w", chunk.Index, hangs.after, err)
	case err != nil && ctx.Err() == nil && errors.Is(cause, errWorkerStopping):
		return notYet(errWorkerStopping.Error(), TypeWorkerStopping, time.Second)
	}
	return err
}

// takeBack ends the upload of a chunk that was written and then failed: no receipt will name it.
func (s *Steps) takeBack(ctx context.Context, destination destinations.Destination, run export.Run, receipt export.Receipt) {
	files, can := destination.(destinations.ShowsInOrder)
	if !can {
		return
	}
	tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTime)
	defer cancel()
	if err := files.TakeBack(tidy, run, []export.Receipt{receipt}); err != nil {
		s.log().Warn("what a failed chunk has written stays, out of sight", "run", run.String(), "chunk", receipt.Chunk, "error", err)
	}
}
