package s3

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/destinations"
)

func TestAStoreThatTakesMinutesToCompleteIsNotTakenForOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int64
		work := chunkWork{ChunkTask: destinations.ChunkTask{Progress: func(bytes uint64) {
			if bytes != 7 {
				t.Errorf("told %d bytes", bytes)
			}
			told.Add(1)
		}}}
		stop := work.patient(7)
		time.Sleep(2*time.Minute + time.Second) // of the bubble's clock
		if got := told.Load(); got != 24 {
			t.Errorf("told %d times in two minutes", got)
		}
		stop()
		time.Sleep(time.Minute)
		if got := told.Load(); got != 24 {
			t.Errorf("told %d times after the end", got-24)
		}
	})
}
