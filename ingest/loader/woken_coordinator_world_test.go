//go:build world && threebrokers

package loader_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/testworld"
)

// A coordinator that was frozen, and replaced, answers what it is asked for when it wakes from what it knew then. That is
// a fact of Kafka; and an owner that asks it is not told so.
func TestACoordinatorThatWakesAnswersWhatItKnewAndIsNotBelieved(t *testing.T) {
	w := newWorldOf(t, 1)
	first := start(t, w.config(t))
	w.send(t, 100)
	w.awaitRows(t, 30*time.Second)
	first.stop()
	asking := w.offsets(t)
	if offset, _, err := asking.Committed(t.Context(), 0); err != nil || offset != 100 { // and who the coordinator is, is known now
		t.Fatalf("committed %d, error %v", offset, err)
	}

	frozen := coordinator(t, w.kafka.Brokers[0], w.group)
	wake := freeze(t, frozen)
	known := make(chan int64, 1)
	go func() { known <- readAt(w, w.kafka.Brokers[frozen-1]) }() // waits for its answer until the node wakes
	other := w.kafka.Brokers[frozen%3]                            // the one after it; nodes count from 1
	testworld.Eventually(t, time.Minute, func() error {
		if coordinator(t, other, w.group) == frozen {
			return errors.New("nobody has taken over yet")
		}
		return nil
	})
	second := start(t, w.config(t))
	w.connectProducer(t)
	w.send(t, 100)
	w.awaitRows(t, time.Minute)
	second.stop()

	owner := w.join(t)
	type answer struct {
		offset int64
		err    error
	}
	told := make(chan answer, 1)
	go func() {
		offset, _, err := asking.CommittedFor(context.WithoutCancel(t.Context()), owner, 0)
		told <- answer{offset, err}
	}()
	w.number(t, "SELECT toUInt64(1)") // a while, in which the question most likely gets on its way
	wake()
	if offset := <-known; offset != 100 {
		t.Errorf("the woken node says %d: Kafka has learnt to keep it from answering", offset)
	}
	// It may find out who is coordinator, or be refused; what it must not be told is the old offset.
	if got := <-told; got.err == nil && got.offset != 200 {
		t.Errorf("the owner is told %d, and 200 are committed", got.offset)
	}
	testworld.Eventually(t, time.Minute, func() error {
		offset, _, err := asking.CommittedFor(t.Context(), owner, 0)
		if err == nil && offset != 200 {
			t.Fatalf("the owner is told %d, and 200 are committed", offset)
		}
		return err
	})
	awaitInSync(t, w, 3)
}

// readAt asks one node for the group's offset, whether it is coordinator or not; negative when it does not say.
func readAt(w *world, address string) int64 {
	config := sarama.NewConfig()
	config.Version = broker.ProtocolVersion
	config.Net.ReadTimeout = 2 * time.Minute
	config.ApiVersionsRequest = false // a frozen node does not greet
	node := sarama.NewBroker(address)
	if err := node.Open(config); err != nil {
		return -1
	}
	defer node.Close()
	answer, err := node.FetchOffset(sarama.NewOffsetFetchRequest(sarama.V2_8_0_0, w.group, map[string][]int32{w.kafka.Topic: {0}}))
	if err != nil {
		return -1
	}
	block := answer.GetBlock(w.kafka.Topic, 0)
	if block == nil || !errors.Is(block.Err, sarama.ErrNoError) {
		return -1
	}
	return block.Offset
}

// join makes the test a member of the group, until it ends.
func (w *world) join(t *testing.T) broker.Owner {
	t.Helper()
	group, err := broker.NewConsumerGroup(w.kafka, w.group, w.config(t).Timing)
	if err != nil {
		t.Fatal(err)
	}
	owners := make(chan broker.Owner, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- group.Consume(context.WithoutCancel(t.Context()), []string{w.kafka.Topic}, member(owners))
	}()
	t.Cleanup(func() {
		_ = group.Close()
		if err := <-ended; err != nil {
			t.Logf("the member ended with %v", err)
		}
	})
	select {
	case owner := <-owners:
		return owner
	case err := <-ended:
		ended <- err
		t.Fatalf("join the group: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("no session within a minute")
	}
	return broker.Owner{}
}

// member tells who it is in each session, and does nothing else.
type member chan<- broker.Owner

func (m member) Setup(session sarama.ConsumerGroupSession) error {
	m <- broker.Owner{Member: session.MemberID(), Generation: session.GenerationID()}
	return nil
}

func (member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (member) ConsumeClaim(session sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
	<-session.Context().Done()
	return nil
}
