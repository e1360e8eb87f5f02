package loader

import (
	"context"

	"github.com/IBM/sarama"
)

// feedBytes is how much of a partition is read ahead. What was asked of Kafka by then still comes.
const feedBytes = 128 << 10

// feed takes a partition's messages as soon as they come, also while its block is inserted, and lets no more come when it
// has enough. sarama fetches all partitions of a broker together, and hands nothing on while one of them does not take what
// it got; in the end it leaves that one out, and to take it in again it pauses the fetching of all for 100 ms. That would
// be so for each block.
type feed struct {
	out           chan []*sarama.ConsumerMessage
	pause, resume func()
}

func newFeed(group sarama.ConsumerGroup, topic string, partition int32) *feed {
	this := map[string][]int32{topic: {partition}}
	return &feed{
		out:   make(chan []*sarama.ConsumerMessage),
		pause: func() { group.Pause(this) }, resume: func() { group.Resume(this) },
	}
}

// run feeds until ctx ends, or there are no more messages and all were taken; then out is closed.
func (f *feed) run(ctx context.Context, in <-chan *sarama.ConsumerMessage) {
	defer close(f.out)
	f.resume() // a session before this one may have left the partition paused
	defer f.resume()
	var waiting []*sarama.ConsumerMessage
	bytes, isPaused := 0, false
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
				f.pause()
				isPaused = true
			}
		case out <- waiting:
			waiting, bytes = nil, 0
			if isPaused {
				f.resume()
				isPaused = false
			}
		}
	}
}
