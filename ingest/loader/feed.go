package loader

import (
	"context"
	"sync/atomic"

	"github.com/IBM/sarama"
)

// feedBytes is how much of a partition is read ahead. What was asked of Kafka by then still comes. The last partition that
// is not paused may have more, lastFeedBytes: when all are paused, sarama sleeps for 100 ms before it looks again.
const (
	feedBytes     = 128 << 10
	lastFeedBytes = 1 << 20
)

// feed takes a partition's messages as soon as they come, also while its block is inserted, and lets no more come when it
// has enough. sarama fetches all partitions of a broker together, and hands nothing on while one of them does not take what
// it got; in the end it leaves that one out, and to take it in again it pauses the fetching of all for 100 ms. That would
// be so for each block.
type feed struct {
	out           chan []*sarama.ConsumerMessage
	pause, resume func()
	running       *atomic.Int32 // how many partitions of this loader are not paused
}

func newFeed(group sarama.ConsumerGroup, topic string, partition int32, running *atomic.Int32) *feed {
	this := map[string][]int32{topic: {partition}}
	return &feed{
		out:   make(chan []*sarama.ConsumerMessage),
		pause: func() { group.Pause(this) }, resume: func() { group.Resume(this) },
		running: running,
	}
}

// run feeds until ctx ends, or there are no more messages and all were taken; then out is closed.
func (f *feed) run(ctx context.Context, in <-chan *sarama.ConsumerMessage) {
	defer close(f.out)
	f.resume() // a session before this one may have left the partition paused
	defer f.resume()
	var waiting []*sarama.ConsumerMessage
	bytes, isPaused := 0, false
	f.running.Add(1)
	defer func() {
		if !isPaused {
			f.running.Add(-1)
		}
	}()
	for in != nil || len(waiting) > 0 {
		out := f.out
		if len(waiting) == 0 {
			out = nil
		}
		select {
		case <-ctx.Done():
			return
		case message, open := <-in:
			for more := open; more; {
				waiting, bytes = append(waiting, message), bytes+len(message.Value)
				select {
				case message, open = <-in:
					more = open
				default:
					more = false
				}
			}
			if !open {
				in = nil
			}
			if bytes >= feedBytes && !isPaused {
				if f.running.Add(-1) > 0 || bytes >= lastFeedBytes {
					f.pause()
					isPaused = true
				} else {
					f.running.Add(1)
				}
			}
		case out <- waiting:
			waiting, bytes = nil, 0
			if isPaused {
				f.running.Add(1)
				f.resume()
				isPaused = false
			}
		}
	}
}
