package crash

import (
	"context"
	"fmt"
	"io"
	"time"
)

// silentAtMost is how long Temporal may answer nothing but errors: much longer than any fault of ours lasts.
const silentAtMost = 40 * time.Second

// WatchTemporal starts Temporal again, and tells so, when it has not answered for too long, until the context ends. On a busy
// machine its server for development was seen to fail for minutes with "interrupted (9)", which is SQLite's, until it was
// started again on what it had stored.
func WatchTemporal(ctx context.Context, world *World, silent time.Duration, answers func(context.Context) error, told io.Writer) {
	for heard := time.Now(); ctx.Err() == nil; wait(ctx, silent/20) {
		asking, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := answers(asking)
		cancel()
		switch {
		case err == nil:
			heard = time.Now()
		case time.Since(heard) > silent && ctx.Err() == nil:
			fmt.Fprintf(told, "temporal has not answered for %s and is started again: %v\n", silent, err)
			_ = world.Kill(ctx, temporalPart)
			heard = time.Now()
		}
	}
}
