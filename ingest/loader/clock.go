package loader

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/eventstore"
)

// maxJump is how far ClickHouse's clock may be ahead of where it should be by this process's monotonic clock before a
// second reading must confirm it: one wrong reading would promise the future for ever.
const maxJump = 10 * time.Second

// clock is ClickHouse's. This process's wall clock decides nothing; its monotonic one only tells how much time has passed
// between two readings.
type clock struct {
	read func(context.Context) (time.Time, error)

	mu   sync.Mutex // one reading at a time
	last atomic.Pointer[reading]
}

type reading struct {
	said time.Time // by ClickHouse
	at   time.Time // when, by the monotonic clock
}

func newClock(store *eventstore.Store) *clock { return &clock{read: store.Now} }

// now reads ClickHouse's time; it gives up after a few seconds. A jump forward that a second reading does not confirm is
// an error. A clock that goes back is no concern of it: arrival times never do.
func (c *clock) now(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	first, err := c.read(ctx)
	if err != nil {
		return time.Time{}, err
	}
	at := time.Now()
	if last := c.last.Load(); last != nil && first.Sub(last.said)-at.Sub(last.at) > maxJump {
		second, err := c.read(ctx)
		if err != nil {
			return time.Time{}, err
		}
		again := time.Now()
		if off := second.Sub(first) - again.Sub(at); off.Abs() > maxJump {
			return time.Time{}, fmt.Errorf("clickhouse's clock jumps: it said %s, and %s later %s",
				first.Format(time.RFC3339), again.Sub(at), second.Format(time.RFC3339))
		}
		first, at = second, again
	}
	c.last.Store(&reading{first, at})
	return first.Truncate(time.Microsecond), nil
}

// since tells how long ago a time of ClickHouse's was, by its last reading; without one, and for times ahead of it, 0. It
// asks nobody, so it may be called while ClickHouse is away.
func (c *clock) since(past time.Time) time.Duration {
	last := c.last.Load()
	if last == nil {
		return 0
	}
	return max(0, last.said.Add(time.Since(last.at)).Sub(past))
}
