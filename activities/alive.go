package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
)

// aliveEvery is well below the heartbeat timeout of such steps.
const aliveEvery = 5 * time.Second

// alive tells the server now and then that a step is being worked whose progress nobody can measure, so that a cancel,
// or the end of its workflow, reaches it through the answer. What hangs is ended by the bound of its attempt. A step
// that is over soon tells nothing; stop returns when nothing is being told any more, for a heartbeat of an activity that
// has ended is a warning in the log.
func alive(ctx context.Context) (stop func()) {
	return nowAndThen(func() {
		if ctx.Err() == nil {
			activity.RecordHeartbeat(ctx)
		}
	})
}

// nowAndThen calls tell every few seconds until stop is called, which returns when nothing is told any more.
func nowAndThen(tell func()) (stop func()) {
	ended, silent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(silent)
		beat := time.NewTicker(aliveEvery)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
				tell()
			case <-ended:
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-silent
	}
}
