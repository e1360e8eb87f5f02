package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/ingest/broker"
)

// handler is a group member that tells its sessions and does nothing else.
type handler struct {
	sessions chan sarama.ConsumerGroupSession
}

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	h.sessions <- session
	return nil
}

func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (handler) ConsumeClaim(session sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
	<-session.Context().Done()
	return nil
}

// groupOf is the group of the loaders of a topic, as no other test has it.
func groupOf(config broker.Config) string { return config.WithDefaults().Topic + "-loaders" }

var errLostAnswer = errors.New("the answer is lost")

// joined starts a member and returns the owner that it is in its first generation.
func joined(t *testing.T, config broker.Config) (owner broker.Owner, leave func()) {
	t.Helper()
	group, err := broker.NewConsumerGroup(config, groupOf(config), broker.GroupTiming{SessionTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	sessions := make(chan sarama.ConsumerGroupSession, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = group.Consume(t.Context(), []string{config.WithDefaults().Topic}, handler{sessions})
	}()
	leave = func() {
		_ = group.Close()
		<-ended
	}
	select {
	case session := <-sessions:
		return broker.Owner{Member: session.MemberID(), Generation: session.GenerationID()}, leave
	case <-time.After(30 * time.Second):
		t.Fatal("no session within 30 s")
		return broker.Owner{}, nil
	}
}

func openOffsets(t *testing.T, config broker.Config) *broker.Offsets {
	t.Helper()
	if _, err := broker.EnsureTopic(t.Context(), config, broker.Settings{}); err != nil {
		t.Fatal(err)
	}
	offsets, err := broker.NewOffsets(config, groupOf(config))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = offsets.Close() })
	return offsets
}

func TestOffsetsAreCommittedByTheOwnerAlone(t *testing.T) {
	config := anyKafka(t)
	offsets := openOffsets(t, config)
	want := func(offset int64, metadata string) {
		t.Helper()
		gotOffset, gotMetadata, err := offsets.Committed(t.Context(), 0)
		if err != nil || gotOffset != offset || gotMetadata != metadata {
			t.Errorf("committed %d with %q, error %v; want %d with %q", gotOffset, gotMetadata, err, offset, metadata)
		}
	}
	want(-1, "")

	first, leave := joined(t, config)
	for _, metadata := range []string{"first", "second"} {
		if err := offsets.Commit(t.Context(), first, 0, 7, metadata); err != nil {
			t.Fatal(err)
		}
		want(7, metadata)
	}
	if err := offsets.Commit(t.Context(), first, 0, 8, strings.Repeat("x", broker.MaxMetadataBytes+1)); err == nil {
		t.Error("metadata beyond what brokers take was let through")
	}
	leave()

	second, leave := joined(t, config)
	defer leave()
	err := offsets.Commit(t.Context(), first, 0, 9, "zombie")
	if !broker.IsFenced(err) {
		t.Errorf("the commit of a member that has left: %v", err)
	}
	want(7, "second")
	if err := offsets.Commit(t.Context(), second, 0, 9, "successor"); err != nil {
		t.Errorf("the successor's commit: %v", err)
	}
	want(9, "successor")
}

// A coordinator that does not know the owner's generation has not seen the commits before it, so it is not believed.
func TestAnOffsetIsBelievedOnlyFromACoordinatorThatKnowsTheOwner(t *testing.T) {
	config := anyKafka(t)
	offsets := openOffsets(t, config)
	first, leave := joined(t, config)
	if err := offsets.Commit(t.Context(), first, 0, 7, "first"); err != nil {
		t.Fatal(err)
	}
	if offset, metadata, err := offsets.CommittedFor(t.Context(), first, 0); err != nil || offset != 7 || metadata != "first" {
		t.Errorf("to its owner: %d with %q, error %v", offset, metadata, err)
	}
	leave()
	second, leave := joined(t, config)
	defer leave()
	if offset, _, err := offsets.CommittedFor(t.Context(), first, 0); !broker.IsFenced(err) {
		t.Errorf("to a member that has left: %d, error %v", offset, err)
	}
	later := broker.Owner{Member: second.Member, Generation: second.Generation + 1}
	if offset, _, err := offsets.CommittedFor(t.Context(), later, 0); !broker.IsFenced(err) {
		t.Errorf("to a generation that it has not seen begin: %d, error %v", offset, err)
	}
	if offset, metadata, err := offsets.CommittedFor(t.Context(), second, 0); err != nil || offset != 7 || metadata != "first" {
		t.Errorf("to the successor: %d with %q, error %v", offset, metadata, err)
	}
}

func TestAMemberCanBeTakenOutOfTheGroupInItsStead(t *testing.T) {
	config := anyKafka(t)
	offsets := openOffsets(t, config)
	owner, leave := joined(t, config)
	defer leave()
	for range 2 { // the second time it is gone already
		if err := offsets.Leave(t.Context(), owner); err != nil {
			t.Fatal(err)
		}
	}
	if err := offsets.Commit(t.Context(), owner, 0, 7, "late"); !broker.IsFenced(err) {
		t.Errorf("its commit is answered with %v", err)
	}
}

func TestACommitWithoutAnAnswerIsAnErrorThatDoesNotFence(t *testing.T) {
	cluster, config := startKafka(t, kfake.GroupMinSessionTimeout(time.Second))
	offsets := openOffsets(t, config)
	owner, leave := joined(t, config)
	defer leave()
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errLostAnswer, true // closes the connection
	})
	if err := offsets.Commit(t.Context(), owner, 0, 1, "m"); err == nil || broker.IsFenced(err) {
		t.Errorf("got %v", err)
	}
	if err := offsets.Commit(t.Context(), owner, 0, 2, "m"); err != nil {
		t.Errorf("the next commit, on a new connection: %v", err)
	}
}

func TestACoordinatorThatLoadsIsAskedAgain(t *testing.T) {
	cluster, config := startKafka(t)
	offsets := openOffsets(t, config)
	cluster.ControlKey(int16(kmsg.OffsetFetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		answer := request.(*kmsg.OffsetFetchRequest).ResponseKind().(*kmsg.OffsetFetchResponse)
		group := kmsg.NewOffsetFetchResponseGroup()
		group.Group, group.ErrorCode = groupOf(config), int16(sarama.ErrOffsetsLoadInProgress)
		answer.Groups = append(answer.Groups, group)
		return answer, nil, true
	})
	if offset, _, err := offsets.Committed(t.Context(), 0); err != nil || offset != -1 {
		t.Errorf("got %d, %v", offset, err)
	}
}
