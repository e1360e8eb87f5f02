package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
)

// aliveEvery is well below the heartbeat timeout of such steps.
const aliveEvery = 5 * time.Second

// alive tells the server now and then that a step is being worked whose progress nobody can measure, so that a cancel,
// or the end of its workflow, reaches it through the answer. What hangs is ended by the bound of its attempt.
func alive(ctx context.Context) (stop func()) {
	ended := make(chan struct{})
	go func() {
		beat := time.NewTicker(aliveEvery)
		defer beat.Stop()
		for {
			activity.RecordHeartbeat(ctx)
			select {
			case <-beat.C:
			case <-ended:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { close(ended) }
}
