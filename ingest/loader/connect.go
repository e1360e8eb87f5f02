package loader

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
)

// connect waits until ClickHouse and Kafka answer, and finds out whether they are as they must be. Nothing is open when
// it returns an error, or no offsets because ctx has ended.
func (l *Loader) connect(ctx context.Context) (*broker.Offsets, error) {
	err := l.await(ctx, "clickhouse", isAway, l.config.Store.Ping)
	if err == nil && ctx.Err() == nil {
		err = l.config.Store.CheckServer(ctx)
	}
	if err == nil && ctx.Err() == nil {
		l.limits, err = l.config.Store.Limits(ctx)
	}
	if err != nil {
		return nil, l.unlessEnded(ctx, fmt.Errorf("check clickhouse before loading: %w", err))
	}

	var offsets *broker.Offsets
	err = l.await(ctx, "kafka", func(err error) bool { return broker.ClassOf(err) == broker.Retry },
		func(ctx context.Context) (err error) {
			if offsets, err = broker.NewOffsets(l.config.Kafka, l.config.Group); err != nil {
				return err
			}
			if _, err = offsets.Topic(ctx); err == nil {
				return nil
			}
			_ = offsets.Close()
			offsets = nil
			return err
		})
	return offsets, l.unlessEnded(ctx, err)
}

// isAway tells that ClickHouse gave no answer; an exception is one.
func isAway(err error) bool {
	var exception *eventstore.Exception
	return !errors.As(err, &exception)
}

// await tries until it works, or fails in a way that waiting does not mend, or ctx ends.
func (l *Loader) await(ctx context.Context, what string, passes func(error) bool, try func(context.Context) error) error {
	backoff := newBackoff()
	said := ""
	for ctx.Err() == nil {
		err := try(ctx)
		if err == nil || !passes(err) {
			return err
		}
		if ctx.Err() == nil && said != err.Error() { // once for each trouble, not at each attempt
			said = err.Error()
			l.log.Warn("loading waits for "+what, "error", err)
		}
		sleep(ctx, backoff.next())
	}
	return nil
}

// unlessEnded drops an error that may only be the end of ctx.
func (l *Loader) unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
