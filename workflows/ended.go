package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/export"
)

// Ended finds kind and sentence in the error of a workflow or a step that has not succeeded. It answers false when the error
// says nothing of how that ended: a time-out, or that the way to Temporal broke.
func Ended(err error) (kind export.Kind, message string, told bool) {
	var failed *temporal.ApplicationError
	var terminated *temporal.TerminatedError
	switch {
	case errors.As(err, &failed):
		return export.Kind(failed.Type()), failed.Message(), true
	case temporal.IsCanceledError(err):
		return export.KindCancelled, "the run was cancelled", true
	case errors.As(err, &terminated):
		return export.KindCancelled, "the run was terminated", true
	}
	return "", "", false
}

// endingOf is Ended with words for every other end.
func endingOf(err error) (export.Kind, string) {
	if kind, message, told := Ended(err); told {
		return kind, message
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return export.KindInternal, "the run, or the wait for it, took too long"
	}
	return export.KindInternal, err.Error()
}
