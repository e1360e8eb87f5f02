package loader

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
)

// stub is a feed of a partition that is paused and resumed by nobody but the test.
func stub() (f *feed, isPaused func() bool) {
	var mu sync.Mutex
	paused := false
	set := func(value bool) func() {
		return func() {
			mu.Lock()
			defer mu.Unlock()
			paused = value
		}
	}
	f = &feed{out: make(chan []*sarama.ConsumerMessage), pause: set(true), resume: set(false), running: new(atomic.Int32)}
	f.running.Add(1) // there is another partition
	return f, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return paused
	}
}

// sarama never waits for a partition whose block is inserted, and no more of it comes than is enough.
func TestAFeedTakesWhatComesAndPausesWhenItHasEnough(t *testing.T) {
	f, isPaused := stub()
	in := make(chan *sarama.ConsumerMessage)
	go f.run(t.Context(), in)
	const count = 3 * feedBytes / 1024
	for offset := range int64(count) { // nobody takes any, and none is left standing
		in <- &sarama.ConsumerMessage{Offset: offset, Value: make([]byte, 1024)}
	}
	if !isPaused() {
		t.Error("the partition is not paused, though nobody takes its messages")
	}
	close(in)
	next := int64(0)
	for messages := range f.out {
		for _, message := range messages {
			if message.Offset != next {
				t.Fatalf("offset %d comes after %d", message.Offset, next-1)
			}
			next++
		}
	}
	if next != count {
		t.Errorf("%d of %d messages came", next, count)
	}
	if isPaused() {
		t.Error("the partition stays paused, though all of its messages were taken")
	}
}

func TestAFeedThatIsNotWantedAnyMoreLeavesNothingPaused(t *testing.T) {
	f, isPaused := stub()
	ctx, stop := context.WithCancel(t.Context())
	in := make(chan *sarama.ConsumerMessage)
	var ran sync.WaitGroup
	ran.Go(func() { f.run(ctx, in) })
	for range 2 {
		in <- &sarama.ConsumerMessage{Value: make([]byte, feedBytes)}
	}
	stop()
	ran.Wait()
	if isPaused() {
		t.Error("the partition stays paused for its next owner in this process")
	}
	if _, open := <-f.out; open {
		t.Error("messages come after the end")
	}
}

// With all of them paused sarama would sleep.
func TestTheLastPartitionThatIsNotPausedMayHaveMore(t *testing.T) {
	f, isPaused := stub()
	f.running.Add(-1)
	in := make(chan *sarama.ConsumerMessage)
	go f.run(t.Context(), in)
	for range 3 * feedBytes / 1024 {
		in <- &sarama.ConsumerMessage{Value: make([]byte, 1024)}
	}
	if isPaused() {
		t.Error("no partition is left that is not paused")
	}
	for range lastFeedBytes / 1024 {
		in <- &sarama.ConsumerMessage{Value: make([]byte, 1024)}
	}
	if !isPaused() {
		t.Error("the partition is not paused, however much of it waits")
	}
}
