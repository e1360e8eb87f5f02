package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/export"
)

// TypeWorkerStopping is the type of the error with which a worker that is told to stop hands a chunk back. It says
// nothing about the chunk and is tried again at once.
const TypeWorkerStopping = "worker_stopping"

// failure turns an error into what Temporal's history shows and its retry rule obeys: the error's kind is the type,
// and a kind that only the user can mend is not tried again.
func failure(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var already *temporal.ApplicationError
	if errors.As(err, &already) {
		return err
	}
	// A cancelled activity must say so in the SDK's own words, or the server would count it as failed.
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	kind, unworkable := export.KindOf(err), export.IsUnworkable(err)
	options := temporal.ApplicationErrorOptions{NonRetryable: kind.UserMustAct() || unworkable}
	if unworkable {
		options.Details = []any{FailureDetails{Unworkable: true, ChunkRows: export.FittingRows(err)}}
	}
	return temporal.NewApplicationErrorWithOptions(err.Error(), string(kind), options)
}

// FailureDetails is what an activity's failure says beside kind and sentence.
type FailureDetails struct {
	// Unworkable says that the plan can never be worked: the revision has to be closed; see export.Unworkable.
	Unworkable bool `json:"unworkable"`
	// ChunkRows is set when a file would be too large: how many rows would fit; see export.TooLarge.
	ChunkRows uint64 `json:"chunk_rows,omitempty"`
}

// notYet is the benign error of a step that waits for something outside: no failure, just not now.
func notYet(message string, kind export.Kind, again time.Duration) error {
	return temporal.NewApplicationErrorWithOptions(message, string(kind), temporal.ApplicationErrorOptions{
		NextRetryDelay: again,
		Category:       temporal.ApplicationErrorCategoryBenign,
	})
}
