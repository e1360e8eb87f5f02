package loader

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/internal/failpoint"
)

// planBlock commits what was collected as the plan of the next block: from then on it has an arrival time and a token,
// and every owner knows them. T is above every W that was promised, and above the T of a plan that came to nothing.
func (c *claim) planBlock(ctx context.Context, try int, above time.Time) error {
	arrival, err := c.arrive(ctx, later(above, c.watermark))
	if err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "loader.plan"); err != nil {
		return err
	}
	plan := &Plan{
		End: c.block.end, At: arrival.UnixMicro(), Rows: len(c.block.rows), Quarantined: len(c.block.unreadable),
		Window: c.block.window, Try: try, Parser: c.loader.config.parser(),
	}
	if failpoint.On("loader.without.plan") {
		c.plan = plan
		return nil
	}
	if err := c.commit(ctx, c.done, c.watermark, plan); err != nil {
		return err
	}
	c.note(func(s *PartitionStatus) { s.Plan = plan })
	c.loader.metrics.blockRows.Observe(float64(plan.Rows))
	c.loader.metrics.blockBytes.Observe(float64(c.block.bytes))
	if failpoint.On("loader.early.watermark") {
		c.loader.publisher.offer(c.mark(arrival))
	}
	return failpoint.Hit(ctx, "loader.planned")
}

// arrive chooses T: ClickHouse's time, but above another. A clock so far behind that the table would refuse T is waited for.
func (c *claim) arrive(ctx context.Context, above time.Time) (time.Time, error) {
	// Of the minute that the table takes by default, 10 s are left for what the clock may still do.
	maxLag := c.loader.limits.MaxAhead - c.loader.limits.MaxAhead/6
	backoff := newBackoff()
	for {
		now, err := c.loader.clock.now(ctx)
		switch {
		case err == nil && now.After(above):
			return now, nil
		case err == nil && above.Sub(now) < maxLag:
			return above.Add(time.Microsecond), nil
		case ctx.Err() != nil:
			return time.Time{}, fmt.Errorf("ask clickhouse for the time: %w", ctx.Err())
		}
		pause := backoff.next()
		if err != nil {
			c.loader.log.Warn("block waits: clickhouse does not tell the time", "source", c.source, "error", err, "after", pause)
		} else {
			c.loader.log.Error("block waits: clickhouse's clock is behind the watermark", "source", c.source, "clock", now, "watermark", above)
		}
		sleep(ctx, pause)
	}
}

// send is one attempt at the planned block: what cannot be read goes to quarantine first, then the rows go in. An insert
// that has begun is never killed, so when the context ends it is left behind with its outcome unknown. The failpoint
// behind the insert stands for a lost answer.
func (c *claim) send(ctx context.Context) error {
	if len(c.block.unreadable) > 0 {
		if err := c.quarantine(ctx); err != nil {
			return err
		}
	}
	if len(c.block.rows) == 0 {
		return nil
	}
	if err := failpoint.Hit(ctx, "loader.insert"); err != nil {
		return err
	}
	prepared := eventstore.Block{
		Source: c.source, Arrival: c.plan.arrival(), Token: c.plan.token(c.source, c.done),
		Offsets: c.block.offsets, Rows: c.block.rows,
	}
	if failpoint.On("loader.without.token") {
		prepared.Token += fmt.Sprint("/", time.Now().UnixNano())
	}
	if c.block.bytes >= c.loader.config.BlockBytes/4 {
		select {
		case c.loader.inserts <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("wait for other blocks before block %s is sent: %w", prepared.Token, ctx.Err())
		}
		defer func() { <-c.loader.inserts }()
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

// quarantine records the block's messages that cannot be read. Twice is harmless.
func (c *claim) quarantine(ctx context.Context) error {
	if err := failpoint.Hit(ctx, "loader.quarantine"); err != nil {
		return err
	}
	if err := c.loader.config.Store.Quarantine(ctx, c.source, c.block.unreadable); err != nil {
		return err
	}
	return failpoint.Hit(ctx, "loader.quarantined")
}

// complete commits the end of a plan whose rows are in and whose unreadable messages are on record.
func (c *claim) complete(ctx context.Context) error {
	if err := failpoint.Hit(ctx, "loader.commit"); err != nil {
		return err
	}
	plan := *c.plan
	if err := c.commit(ctx, plan.End, plan.arrival(), nil); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "loader.committed"); err != nil {
		return err
	}
	c.loader.metrics.rows.Add(float64(plan.Rows))
	c.loader.metrics.unreadable.Add(float64(plan.Quarantined))
	c.loader.metrics.duplicates.Add(float64(c.block.duplicates))
	for _, message := range c.block.unreadable {
		c.loader.log.Error("message quarantined: it cannot be read", "source", c.source, "offset", message.Offset, "reason", message.Reason)
	}
	c.note(func(s *PartitionStatus) { s.Plan = nil })
	c.publish()
	c.next = max(c.next, c.done)
	if c.block.messages > 0 {
		c.average = c.block.bytes / c.block.messages
	}
	c.block.reset()
	if len(c.rest) > 0 {
		c.block, c.rest = c.rest[0], c.rest[1:]
	}
	return nil
}
