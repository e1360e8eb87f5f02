//go:build world

package assumptions

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// member is one consumer of a group, whose claims do what the test says.
type member struct {
	setup func(sarama.ConsumerGroupSession)
	claim func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim)
}

func (m member) Setup(session sarama.ConsumerGroupSession) error {
	if m.setup != nil {
		m.setup(session)
	}
	return nil
}

func (m member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.claim(session, claim)
	return nil
}

// join consumes until leave is called, one session after the other.
func (k *kafka) join(t *testing.T, m member) (leave func()) {
	t.Helper()
	group, err := sarama.NewConsumerGroup(k.addresses, k.topic, k.config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	left := make(chan struct{})
	go func() {
		defer close(left)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{k.topic}, m); err != nil && ctx.Err() == nil {
				t.Errorf("consume: %v", err)
				return
			}
		}
	}()
	leave = func() {
		cancel()
		<-left
		_ = group.Close()
	}
	return leave
}

func (k *kafka) send(t *testing.T, count int) {
	t.Helper()
	producer, err := sarama.NewSyncProducerFromClient(k.Client)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for range count {
		if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: k.topic, Value: sarama.StringEncoder("{}")}); err != nil {
			t.Fatal(err)
		}
	}
}

// commit sends an offset with metadata, as the loader does, and returns the code of the answer.
func (k *kafka) commit(t *testing.T, memberID string, generation int32, offset int64, metadata string) error {
	t.Helper()
	coordinator, err := k.Coordinator(k.topic)
	if err != nil {
		t.Error(err)
		return nil
	}
	request := sarama.NewOffsetCommitRequest(k.config, k.topic)
	request.ConsumerID, request.ConsumerGroupGeneration = memberID, generation
	request.AddBlockWithLeaderEpoch(k.topic, 0, offset, -1, sarama.ReceiveTime, metadata)
	answer, err := coordinator.CommitOffset(request)
	if err != nil {
		t.Error(err)
		return nil
	}
	if code := answer.Errors[k.topic][0]; !errors.Is(code, sarama.ErrNoError) {
		return code
	}
	return nil
}

func (k *kafka) committed(t *testing.T) (int64, string) {
	t.Helper()
	coordinator, err := k.Coordinator(k.topic)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := coordinator.FetchOffset(sarama.NewOffsetFetchRequest(k.config.Version, k.topic, map[string][]int32{k.topic: {0}}))
	if err != nil {
		t.Fatal(err)
	}
	block := answer.GetBlock(k.topic, 0)
	if block == nil || !errors.Is(block.Err, sarama.ErrNoError) {
		t.Fatalf("committed offset: %+v in %+v", block, answer)
	}
	return block.Offset, block.Metadata
}

// inSession runs what in the first claim of a group of one member, which then leaves.
func (k *kafka) inSession(t *testing.T, what func(sarama.ConsumerGroupSession)) {
	t.Helper()
	done := make(chan struct{})
	first := make(chan struct{}, 1)
	first <- struct{}{}
	leave := k.join(t, member{claim: func(session sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) {
		select {
		case <-first:
			what(session)
			close(done)
		default:
		}
		<-session.Context().Done()
	}})
	defer leave()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("no session within a minute")
	}
}

// sarama's own session cannot store a watermark beside an unchanged offset: that is why the loader commits by itself.
func TestMarkOffsetDropsWhatIsNotGreater(t *testing.T) {
	k := connectKafka(t)
	k.createTopic(t, 1)
	k.send(t, 10)
	k.inSession(t, func(session sarama.ConsumerGroupSession) {
		session.MarkOffset(k.topic, 0, 5, "first")
		session.Commit()
		session.MarkOffset(k.topic, 0, 5, "second")
		session.Commit()
	})
	if offset, metadata := k.committed(t); offset != 5 || metadata != "first" {
		t.Errorf("committed %d with %q", offset, metadata)
	}
}

// The loader's own commits: metadata beside an unchanged offset is stored and read back. Nobody checks that offsets grow.
func TestACommitOfAnUnchangedOffsetIsStored(t *testing.T) {
	k := connectKafka(t)
	k.createTopic(t, 1)
	k.send(t, 10)
	k.inSession(t, func(session sarama.ConsumerGroupSession) {
		for _, commit := range []struct {
			offset   int64
			metadata string
		}{{5, "first"}, {5, "second"}, {3, "back"}} {
			if err := k.commit(t, session.MemberID(), session.GenerationID(), commit.offset, commit.metadata); err != nil {
				t.Errorf("commit %v: %v", commit, err)
			}
			if offset, metadata := k.committed(t); offset != commit.offset || metadata != commit.metadata {
				t.Errorf("committed %d with %q, want %v", offset, metadata, commit)
			}
		}
	})
}

// The fence of watermarks: who is no longer a member, or of an older generation, cannot commit.
func TestACommitOfAnOldGenerationIsRefused(t *testing.T) {
	k := connectKafka(t)
	k.createTopic(t, 1)
	k.send(t, 10)
	var oldMember string
	var oldGeneration int32
	k.inSession(t, func(session sarama.ConsumerGroupSession) {
		oldMember, oldGeneration = session.MemberID(), session.GenerationID()
		if err := k.commit(t, oldMember, oldGeneration, 5, "mine"); err != nil {
			t.Errorf("a member's commit: %v", err)
		}
		if err := k.commit(t, oldMember, oldGeneration-1, 6, "older"); !errors.Is(err, sarama.ErrIllegalGeneration) {
			t.Errorf("a commit of an older generation: %v", err)
		}
	})
	refused := func(err error) bool {
		return errors.Is(err, sarama.ErrUnknownMemberId) || errors.Is(err, sarama.ErrIllegalGeneration)
	}
	if err := k.commit(t, oldMember, oldGeneration, 7, "late"); !refused(err) {
		t.Errorf("a commit to the group that was left: %v", err)
	}
	k.inSession(t, func(session sarama.ConsumerGroupSession) {
		if err := k.commit(t, oldMember, oldGeneration, 8, "zombie"); !refused(err) {
			t.Errorf("a commit beside a new owner: %v", err)
		}
	})
	if offset, metadata := k.committed(t); offset != 5 || metadata != "mine" {
		t.Errorf("committed %d with %q", offset, metadata)
	}
}

// Draining at a rebalance: until it lets go, a member may still commit under its generation.
func TestAMemberMayCommitWhileTheGroupWaitsForItToLetGo(t *testing.T) {
	k := connectKafka(t)
	k.createTopic(t, 1)
	k.send(t, 10)
	claimed, drained := make(chan struct{}, 10), make(chan error, 10)
	leaveFirst := k.join(t, member{claim: func(session sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) {
		claimed <- struct{}{}
		<-session.Context().Done()
		drained <- k.commit(t, session.MemberID(), session.GenerationID(), 4, "drained")
	}})
	defer leaveFirst()
	<-claimed
	leaveSecond := k.join(t, member{claim: func(session sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) { <-session.Context().Done() }})
	defer leaveSecond()
	select {
	case err := <-drained:
		if err != nil {
			t.Errorf("the commit while draining: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the second member caused no rebalance within a minute")
	}
}

// The loader takes up from where ClickHouse is, not from the commit: sarama starts where Setup says, and commits nothing.
func TestSetupDecidesWhereSaramaStarts(t *testing.T) {
	k := connectKafka(t)
	k.createTopic(t, 1)
	k.send(t, 10)
	k.inSession(t, func(session sarama.ConsumerGroupSession) {
		if err := k.commit(t, session.MemberID(), session.GenerationID(), 5, "mine"); err != nil {
			t.Error(err)
		}
	})
	for _, from := range []int64{7, 2} {
		starts := make(chan int64, 10)
		leave := k.join(t, member{
			setup: func(session sarama.ConsumerGroupSession) {
				session.MarkOffset(k.topic, 0, from, "")
				session.ResetOffset(k.topic, 0, from, "")
			},
			claim: func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) {
				if message, open := <-claim.Messages(); open {
					starts <- message.Offset
				}
				<-session.Context().Done()
			},
		})
		select {
		case offset := <-starts:
			if offset != from {
				t.Errorf("sarama starts at %d, want %d", offset, from)
			}
		case <-time.After(time.Minute):
			t.Error("no message within a minute")
		}
		leave()
		if offset, metadata := k.committed(t); offset != 5 || metadata != "mine" {
			t.Errorf("committed %d with %q", offset, metadata)
		}
	}
}

// A partition that nobody has committed answers -1 to a member, not an error.
func TestNoCommittedOffsetIsMinusOne(t *testing.T) {
	k := connectKafka(t)
	k.createTopic(t, 1)
	k.inSession(t, func(sarama.ConsumerGroupSession) {
		if offset, metadata := k.committed(t); offset != -1 || metadata != "" {
			t.Errorf("got %d with %q", offset, metadata)
		}
	})
}
