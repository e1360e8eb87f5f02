package loader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/internal/failpoint"
)

// maxClockLag is how far ClickHouse's clock may be behind W before the partition waits: the table refuses arrival times
// more than a minute in the future.
const maxClockLag = 50 * time.Second

// errTakenOver says that rows of the block's range are in the table by another insert than ours: another loader has
// the partition.
var errTakenOver = errors.New("its rows are in the table by another loader's insert")

// insert puts the block into the table, however long it takes, and returns its arrival time. Its error means that the
// context has ended, or that somebody else owns the partition.
func (c *claim) insert(ctx context.Context) (arrival time.Time, err error) {
	for try := 0; ; try++ {
		arrival, err := c.arrive(ctx)
		if err != nil {
			return time.Time{}, err
		}
		in, err := c.insertAs(ctx, arrival, try)
		if err != nil {
			return time.Time{}, err
		}
		if in {
			return arrival, nil
		}
	}
}

// arrive chooses T: ClickHouse's time, but above every promised W.
func (c *claim) arrive(ctx context.Context) (time.Time, error) {
	backoff := newBackoff()
	for {
		now, err := c.now(ctx)
		switch {
		case err == nil && now.After(c.watermark):
			return now, nil
		case err == nil && c.watermark.Sub(now) < maxClockLag:
			return c.watermark.Add(time.Microsecond), nil
		case ctx.Err() != nil:
			return time.Time{}, fmt.Errorf("ask clickhouse for the time: %w", ctx.Err())
		}
		pause := backoff.next()
		if err != nil {
			c.loader.log.Warn("block waits: clickhouse does not tell the time", "source", c.source, "error", err, "after", pause)
		} else {
			c.loader.log.Error("block waits: clickhouse's clock is behind the watermark", "source", c.source, "clock", now, "watermark", c.watermark)
		}
		sleep(ctx, pause)
	}
}

// insertAs inserts the block with one arrival time and one token, until the outcome is known: true when it is in, false
// when it is not and never will be by this token. An answer that was lost changes nothing about the next attempt: same
// rows, same T, same token.
func (c *claim) insertAs(ctx context.Context, arrival time.Time, try int) (in bool, err error) {
	prepared := eventstore.Block{
		Source:  c.source,
		Arrival: arrival,
		Token:   fmt.Sprintf("%s/%d-%d/%d/%d", c.source, c.done, c.next, try, arrival.UnixMicro()),
		Offsets: c.block.offsets,
		Rows:    c.block.rows,
	}
	backoff := newBackoff()
	for attempt := 1; ; attempt++ {
		failed := c.send(ctx, prepared)
		if failed == nil && attempt == 1 {
			return true, nil
		}
		// An OK to a repeated insert only says that the token is known, so now the table decides.
		last, err := c.loader.config.Store.LastLoaded(ctx, c.source)
		switch {
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("read back what is there: %w", err))
		case last.Found && last.Offset == c.block.last() && last.Arrival.Equal(arrival):
			c.loader.log.Info("block is in: its first answer was lost", "source", c.source, "token", prepared.Token, "attempts", attempt)
			return true, nil
		case last.Found && last.Offset >= prepared.Offsets[0]:
			return false, fmt.Errorf("insert offsets %d to %d of %s: %w", c.done, c.next-1, c.source, errTakenOver)
		case failed == nil, eventstore.IsArrivalRefused(failed):
			c.loader.log.Warn("block gets a new arrival time: its token is spent or its time refused", "source", c.source, "token", prepared.Token, "error", failed)
			sleep(ctx, backoff.next())
			return false, ctx.Err()
		}
		c.loader.metrics.insertErrors.Inc()
		if ctx.Err() != nil {
			return false, fmt.Errorf("insert offsets %d to %d of %s, with an outcome unknown so far: %w", c.done, c.next-1, c.source, failed)
		}
		pause := backoff.next()
		c.loader.log.Warn("block is kept and sent again", "source", c.source, "token", prepared.Token, "rows", len(prepared.Rows), "error", failed, "after", pause)
		sleep(ctx, pause)
	}
}

// send is one attempt. An insert that has begun is never killed, so when the context ends it is left behind with its
// outcome unknown. The failpoint behind the insert stands for a lost answer.
func (c *claim) send(ctx context.Context, prepared eventstore.Block) error {
	if err := failpoint.Hit(ctx, "loader.insert"); err != nil {
		return err
	}
	started := time.Now()
	answer := make(chan error, 1)
	go func() { answer <- c.loader.config.Store.InsertBlock(ctx, prepared) }()
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for the answer to block %s: %w", prepared.Token, ctx.Err())
	case err := <-answer:
		if err != nil {
			return err
		}
	}
	if err := failpoint.Hit(ctx, "loader.inserted"); err != nil {
		return err
	}
	c.loader.metrics.blocks.Inc()
	c.loader.metrics.insertSeconds.Observe(time.Since(started).Seconds())
	return nil
}

// now is ClickHouse's time; it gives up after a few seconds.
func (c *claim) now(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	now, err := c.loader.config.Store.Now(ctx)
	return now.Truncate(time.Microsecond), err
}
