package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	temporallog "go.temporal.io/sdk/log"

	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/starter"
)

// dialTimeout bounds how long a command waits for Temporal's first answer.
const dialTimeout = 10 * time.Second

// temporal is a connection to one namespace, and what messages say of it.
type temporal struct {
	client.Client
	address, namespace string
	uiURL              string
	converter          converter.DataConverter // nil for the SDK's own
}

// dialTemporal connects by the TEMPORAL_* variables. log takes what the SDK has to say.
func dialTemporal(ctx context.Context, env config.Environment, log *slog.Logger) (*temporal, error) {
	options, err := config.TemporalOptions()
	if err != nil {
		return nil, err
	}
	options.Logger = temporallog.NewStructuredLogger(log)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	connected, err := client.DialContext(ctx, options)
	t := &temporal{Client: connected, address: options.HostPort, namespace: options.Namespace, uiURL: env.TemporalUIURL, converter: options.DataConverter}
	if err != nil {
		return nil, t.explain(err)
	}
	return t, nil
}

func (t *temporal) explain(err error) error { return explain(err, t.address, t.namespace) }

// link is where people look at an execution; empty when the UI's address is not known.
func (t *temporal) link(workflowID, runID string) string {
	if t.uiURL == "" {
		return ""
	}
	return fmt.Sprintf("%s/namespaces/%s/workflows/%s/%s/history", t.uiURL, t.namespace, workflowID, runID)
}

// withStarter connects, hands a starter over, and makes errors of Temporal say what to do.
func (p *program) withStarter(ctx context.Context, do func(*temporal, *starter.Starter) error) error {
	env, err := config.ReadEnvironment()
	if err != nil {
		return err
	}
	connected, err := dialTemporal(ctx, env, quiet())
	if err != nil {
		return err
	}
	defer connected.Close()
	return connected.explain(do(connected, &starter.Starter{Temporal: connected.Client, DataConverter: connected.converter, Namespace: connected.namespace, File: p.file(env)}))
}

// quiet drops what a library logs while a command is about to tell the same as its error.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
