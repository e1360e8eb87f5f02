package loader

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/internal/failpoint"
)

// maxStrange is after how many errors that waiting does not mend a block is left to people.
const maxStrange = 3

// repair settles a plan that another session left open. It counts before it asks Kafka for anything: a plan whose rows
// are all there needs no message.
func (c *claim) repair(session, work context.Context, messages <-chan []*sarama.ConsumerMessage) error {
	c.loader.log.Info("an open plan is found", "source", c.source, "token", c.plan.token(c.source, c.done))
	standing, err := c.look(session)
	if err != nil {
		return err
	}
	if standing.Rows == uint64(c.plan.Rows) {
		quarantined, err := c.countQuarantined(session)
		if err != nil {
			return err
		}
		if quarantined >= uint64(c.plan.Quarantined) {
			c.loader.metrics.repaired("loaded")
			return c.complete(work)
		}
	}
	if err := c.checkLog(); err != nil {
		return err
	}
	if err := c.gather(session, messages); err != nil {
		return err
	}
	return c.settle(session, work, false)
}

// gather reads the plan's messages again, and before them those of its window of duplicates.
func (c *claim) gather(ctx context.Context, messages <-chan []*sarama.ConsumerMessage) error {
	for c.next < c.plan.End {
		if len(c.ahead) == 0 {
			select {
			case <-ctx.Done():
				return fmt.Errorf("read the messages of an open plan again: %w", ctx.Err())
			case ahead, open := <-messages:
				if !open {
					return fmt.Errorf("read the messages of an open plan again: %w", context.Canceled)
				}
				c.ahead = ahead
			}
			continue
		}
		message := c.ahead[0]
		switch {
		case message.Offset >= c.plan.End: // Kafka has deleted the plan's last message meanwhile
			return nil
		case message.Offset < c.next:
			c.remember(message)
		default:
			c.take(message)
		}
		c.ahead[0] = nil
		c.ahead = c.ahead[1:]
	}
	return nil
}

// remember takes a message before the committed offset up into the window of duplicates.
func (c *claim) remember(message *sarama.ConsumerMessage) {
	if message.Offset >= c.window.end {
		c.window.remember(message)
	}
}

// isRepeatable tells whether what is collected is what was planned, so that it may be sent by the plan's token.
func (c *claim) isRepeatable() bool {
	return c.plan.Parser == c.loader.config.parser() && c.plan.Window >= c.knownFrom &&
		c.block.end == c.plan.End && len(c.block.rows) == c.plan.Rows && len(c.block.unreadable) == c.plan.Quarantined
}

// settle brings the open plan to its end, by the one path that every trouble takes:
//
//  1. Wait until the server runs no insert of the token. None is ever killed.
//  2. Count the rows with the plan's T. All: done. Some: stop, for people.
//  3. None, and younger than the table's constraint: send the block again by the same token, and count again. Still none
//     after an OK: the token is on record without its part, so plan again; the old token stays refused.
//  4. None, and older, or not to be repeated: wait until the server itself says that T is so old that no copy will ever
//     be taken, count once more, and plan again.
//
// An OK is proof only to who sent the plan's first copy, which is why first says whether that is us, now. Everywhere else
// the count decides. An error starts again at 1.
func (c *claim) settle(session, work context.Context, first bool) error {
	backoff := newBackoff()
	strange, refused, answered := 0, false, false
	for {
		if !first {
			c.leaveTurn() // this may take minutes, and the others are to go on
			standing, err := c.look(session)
			if err != nil {
				return err
			}
			limits := c.loader.limits
			switch {
			case standing.Rows == uint64(c.plan.Rows):
				return c.settled(work)
			case standing.Rows > 0:
				c.loader.metrics.repaired("stopped")
				return c.stop("of the %d rows of block %s, %d are in the table: somebody has changed them", c.plan.Rows, c.plan.token(c.source, c.done), standing.Rows)
			case answered || limits.Expired(standing.Age):
				c.loader.log.Warn("block is planned again: its token is spent or its time over", "source", c.source, "token", c.plan.token(c.source, c.done), "age", standing.Age)
				c.loader.metrics.repaired("planned_again")
				if err := c.planAgain(work, refused); err != nil {
					return err
				}
				first, refused = true, false
			case refused || standing.Age > limits.MaxAge || !c.isRepeatable():
				sleep(session, min(time.Second, limits.MaxAge/10)) // until it has expired
				continue
			default:
				c.loader.metrics.repaired("repeated")
			}
		}
		err := c.send(work)
		if err == nil && (first || failpoint.On("loader.without.count")) {
			return c.complete(work)
		}
		first, answered = false, err == nil
		if err == nil {
			continue
		}
		c.loader.metrics.insertErrors.Inc()
		if work.Err() != nil {
			return fmt.Errorf("insert offsets %d to %d of %s, with an outcome unknown so far: %w", c.done, c.plan.End-1, c.source, err)
		}
		refused = refused || eventstore.IsArrivalRefused(err)
		if !eventstore.IsPassing(err) {
			if strange++; strange == maxStrange {
				c.loader.metrics.repaired("stopped")
				return c.stop("clickhouse refuses block %s: %v", c.plan.token(c.source, c.done), err)
			}
		}
		pause := backoff.next()
		c.loader.log.Warn("block has no answer that counts; looking what became of it", "source", c.source, "token", c.plan.token(c.source, c.done), "rows", c.plan.Rows, "error", err, "after", pause)
		sleep(session, pause)
	}
}

// settled ends a plan whose rows were counted. What its messages held that cannot be read goes to quarantine once more.
func (c *claim) settled(ctx context.Context) error {
	for backoff := newBackoff(); len(c.block.unreadable) > 0; {
		err := c.quarantine(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return err
		}
		pause := backoff.next()
		c.loader.log.Warn("unreadable messages are not on record yet", "source", c.source, "error", err, "after", pause)
		sleep(ctx, pause)
	}
	c.loader.log.Info("block is in", "source", c.source, "token", c.plan.token(c.source, c.done))
	c.loader.metrics.repaired("loaded")
	return c.complete(ctx)
}

// planAgain gives what was collected a new plan, and only half of it if the old one came too late.
func (c *claim) planAgain(ctx context.Context, halve bool) error {
	if c.block.messages == 0 {
		return c.stop("kafka has deleted all messages of block %s, which is not in the table", c.plan.token(c.source, c.done))
	}
	if halve {
		if rest := c.block.halve(); rest.messages > 0 {
			c.rest = append([]block{rest}, c.rest...)
		}
	}
	return c.planBlock(ctx, c.plan.Try+1, c.plan.arrival())
}

// look waits until the server runs no insert of the plan, and tells how the plan stands then.
func (c *claim) look(ctx context.Context) (eventstore.Standing, error) {
	token := c.plan.token(c.source, c.done)
	backoff := newBackoff()
	for {
		standing, err := c.loader.config.Store.StandingOf(ctx, c.source, c.plan.arrival(), token)
		switch {
		case ctx.Err() != nil:
			return standing, fmt.Errorf("look what became of block %s: %w", token, ctx.Err())
		case err == nil && !standing.Running:
			return standing, nil
		}
		pause := backoff.next()
		c.loader.log.Warn("what became of a block is not known yet", "source", c.source, "token", token, "running", standing.Running, "error", err, "after", pause)
		sleep(ctx, pause)
	}
}

func (c *claim) countQuarantined(ctx context.Context) (uint64, error) {
	if c.plan.Quarantined == 0 {
		return 0, nil
	}
	for backoff := newBackoff(); ; {
		count, err := c.loader.config.Store.CountQuarantined(ctx, c.source, uint64(c.done), uint64(c.plan.End))
		if err == nil || ctx.Err() != nil {
			return count, err
		}
		c.loader.log.Warn("quarantined messages cannot be counted", "source", c.source, "error", err)
		sleep(ctx, backoff.next())
	}
}
