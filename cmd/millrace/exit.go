package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"

	"go.temporal.io/api/serviceerror"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
)

// Exit codes. They are part of the interface, and documented in the help of the root command.
const (
	exitDone     = 0   // it is done
	exitFailed   = 1   // something outside did not answer, or failed
	exitUsage    = 2   // the command line, a file or the environment is wrong; nothing was done
	exitNegative = 3   // it worked, and the answer is no: a failed run, a check with a failed step, a change declined
	exitStopped  = 130 // stopped by a signal before it was done
)

// usageError is a wrong command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// negative is an answer that is no, after the command has said why. It may have a text of its own.
type negative struct{ text string }

func (e negative) Error() string { return e.text }

// exitCode finds the exit code of what a command returned.
func exitCode(ctx context.Context, err error) int {
	var usage usageError
	var no negative
	var signal stopped
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &no):
		return exitNegative
	case errors.As(err, &signal), errors.As(context.Cause(ctx), &signal) && errors.Is(err, context.Canceled):
		return exitStopped
	case errors.As(err, &usage), export.KindOf(err) == export.KindConfig:
		return exitUsage
	}
	return exitFailed
}

// printError says what went wrong, for people or as JSON, an object on one line.
func printError(w io.Writer, asJSON bool, err error, code int) {
	if err.Error() == "" {
		return
	}
	if !asJSON {
		fmt.Fprintf(w, "millrace: %v\n", err)
		return
	}
	object := struct {
		Error    string      `json:"error"`
		Kind     export.Kind `json:"kind,omitempty"`
		ExitCode int         `json:"exit_code"`
	}{Error: err.Error(), ExitCode: code}
	var classified *export.Error
	if errors.As(err, &classified) {
		object.Kind = classified.Kind
	}
	if encoded, err := json.Marshal(object); err == nil {
		fmt.Fprintf(w, "%s\n", encoded)
	}
}

// explain adds to an error of Temporal what to do about it. Everything else stays as it is.
func explain(err error, address, namespace string) error {
	var noNamespace *serviceerror.NamespaceNotFound
	var away *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	var denied *serviceerror.PermissionDenied
	switch {
	case errors.As(err, &noNamespace):
		return export.Errorf(export.KindConfig, "Temporal at %s has no namespace %q: set TEMPORAL_NAMESPACE, or create it with `temporal operator namespace create --namespace %s`", address, namespace, namespace)
	case errors.As(err, &away), errors.As(err, &late):
		return fmt.Errorf("%w: Temporal at %s does not answer: is it up, and is TEMPORAL_ADDRESS right? %s", err, address, config.DevWorld)
	case errors.As(err, &denied):
		return fmt.Errorf("%w: Temporal at %s does not let us in: are TEMPORAL_API_KEY and TEMPORAL_NAMESPACE right?", err, address)
	}
	return err
}

// explainListen adds to an error about an address that is taken how to give another one.
func explainListen(err error, how string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: stop what listens there, or give another address with %s", err, how)
	}
	return err
}

// needs reads the environment and refuses at once when one of the variables is missing.
func needs(names ...string) (config.Environment, error) {
	env, err := config.ReadEnvironment()
	if err != nil {
		return env, err
	}
	return env, env.Need(names...)
}
