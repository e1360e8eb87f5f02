package s3

import "time"

// patienceEvery is well below the heartbeat timeout of a chunk.
const patienceEvery = 5 * time.Second

// patient tells progress now and then while the store puts together what it has: S3 says that a completion may take it
// minutes, in which no byte moves and nothing hangs. How long that may go on is bounded by the request's own timeout.
// Nothing is told any more once stop has returned.
func (w chunkWork) patient(bytes uint64) (stop func()) {
	if w.Progress == nil {
		return func() {}
	}
	ended, silent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(silent)
		tick := time.NewTicker(patienceEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.Progress(bytes)
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
