package worker

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/internal/governor"
	"github.com/millrace/millrace/workflows"
)

// The bounds beyond which something strains. They are far from where it hurts: to give way early costs a backfill little.
const (
	// oldWatermark is the age of the watermark; with a loader at work it is one to three seconds old.
	oldWatermark = 15 * time.Second
	// farBehind is how long the loaders would take, at their present pace, for what waits in Kafka.
	farBehind = 15 * time.Second
	// stuckWatermark is how long a watermark stands still until nobody waits for it: that is for people, and to hold backfills
	// back would not mend it.
	stuckWatermark = time.Minute
	// waitsTooLong is how long a chunk of a live run may wait for a slot.
	waitsTooLong = 2 * time.Second
	// A look at ClickHouse, or at Temporal, is slow when it takes slowLook more than it did at the best of times, and slowTimes as long.
	slowLook, slowTimes = 15 * time.Millisecond, 4
	// manyQueries of others at once.
	manyQueries = 50
	// The shares of the server's memory, of its merges at once, and of the parts from which on inserts are delayed.
	muchMemory, manyMerges, manyParts = 0.8, 0.9, 0.5
)

// strains looks for reasons to give way.
type strains struct {
	events    *eventstore.Store
	temporal  client.Client
	namespace string

	watermark time.Time // of the last look; zero before the first
	moved     time.Time // when it was last seen to have moved; zero while it was not
	loaded    uint64    // offsets of all partitions together, at the last look
	loadedAt  time.Time // of that look, by ClickHouse's clock
	delayed   uint64    // inserts delayed until the last look
	looked    bool

	clickhouse, server pace
}

// pace is how long a look takes.
type pace struct{ best time.Duration }

// slow tells whether one that took so long was slow, by the best of times. That is forgotten by and by, a hundredth with each
// look, for machines change.
func (p *pace) slow(took time.Duration) bool {
	if p.best == 0 || took < p.best {
		p.best = took
	}
	slow := took > p.best+slowLook && took > slowTimes*p.best
	p.best += p.best / 100
	return slow
}

// measure looks around once; see governor.Config. It is not safe for concurrent use.
func (s *strains) measure(ctx context.Context) ([]governor.Strain, error) {
	found, err := s.events.Strain(ctx)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if _, err := s.events.Now(ctx); err != nil { // the least that it can be asked
		return nil, err
	}
	answered := time.Since(began)
	watermark, err := s.events.Watermark(ctx)
	if err != nil {
		return nil, err
	}
	began = time.Now()
	waiting, err := s.liveWaits(ctx)
	if err != nil {
		return nil, err
	}
	described := time.Since(began)
	seen := s.ofClickHouse(found)
	for _, look := range []struct {
		pace *pace
		took time.Duration
		who  string
	}{{&s.clickhouse, answered, "clickhouse"}, {&s.server, described, "temporal"}} {
		best := look.pace.best
		if look.pace.slow(look.took) {
			seen = append(seen, governor.Strain{Kind: look.who + "_slow", Mild: true, What: fmt.Sprintf("%s takes %s to answer, and %s at best", look.who, look.took.Round(time.Millisecond), best.Round(time.Millisecond))})
		}
	}
	if watermark.Complete {
		seen = append(seen, s.ofWatermark(found.Now, watermark.At)...)
	}
	seen = append(seen, s.ofKafka(found.Now, watermark.Marks)...)
	if waiting > waitsTooLong {
		seen = append(seen, governor.Strain{Kind: "live", What: fmt.Sprintf("a chunk of a live run has waited for %s", waiting.Round(time.Second))})
	}
	return seen, nil
}

func (s *strains) ofClickHouse(found eventstore.Strain) (seen []governor.Strain) {
	add := func(kind, format string, arguments ...any) {
		seen = append(seen, governor.Strain{Kind: "clickhouse_" + kind, What: fmt.Sprintf(format, arguments...)})
	}
	if found.Queries > manyQueries {
		add("queries", "ClickHouse runs %d queries of others", found.Queries)
	}
	if most := found.MemoryMost; most > 0 && float64(found.Memory) > muchMemory*float64(most) {
		add("memory", "ClickHouse uses %d %% of its memory", 100*found.Memory/most)
	}
	if most := found.MergesMost; most > 0 && float64(found.Merges) > manyMerges*float64(most) {
		add("merges", "ClickHouse does %d merges of %d at once", found.Merges, most)
	}
	if most := found.PartsDelay; most > 0 && float64(found.Parts) > manyParts*float64(most) {
		add("parts", "events has %d parts in a partition, inserts are delayed from %d on", found.Parts, most)
	}
	if s.looked && found.DelayedInserts > s.delayed {
		add("inserts", "ClickHouse has delayed or refused %d inserts", found.DelayedInserts-s.delayed)
	}
	s.delayed, s.looked = found.DelayedInserts, true
	return seen
}

// ofWatermark tells that a watermark which moves is old. One that stands still is not held back by backfills.
func (s *strains) ofWatermark(now, at time.Time) []governor.Strain {
	if !at.Equal(s.watermark) && !s.watermark.IsZero() {
		s.moved = now
	}
	s.watermark = at
	age := now.Sub(at)
	if age <= oldWatermark || now.Sub(s.moved) > stuckWatermark {
		return nil
	}
	return []governor.Strain{{Kind: "watermark", What: fmt.Sprintf("the watermark is %s old", age.Round(time.Second))}}
}

// ofKafka tells that the loaders are at work and far behind. The watermark does not: it follows what they load, however old. Of
// loaders that load nothing it says nothing, for then there is nothing to give way to.
func (s *strains) ofKafka(now time.Time, marks []eventstore.Mark) []governor.Strain {
	var loaded, behind uint64
	for _, mark := range marks {
		if !mark.IsRetired() {
			loaded, behind = loaded+mark.Offset, behind+mark.Behind
		}
	}
	before, since := s.loaded, now.Sub(s.loadedAt)
	s.loaded, s.loadedAt = loaded, now
	if since <= 0 || since > stuckWatermark || loaded <= before {
		return nil
	}
	takes := time.Duration(float64(behind) / float64(loaded-before) * float64(since))
	if takes <= farBehind {
		return nil
	}
	return []governor.Strain{{Kind: "kafka", What: fmt.Sprintf("%d messages wait in Kafka, which take the loaders %s", behind, takes.Round(time.Second))}}
}

// liveWaits is for how long the oldest chunk of a live run has waited for a slot.
func (s *strains) liveWaits(ctx context.Context) (time.Duration, error) {
	described, err := s.temporal.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: s.namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: workflows.QueueLive},
		TaskQueueType: enumspb.TASK_QUEUE_TYPE_ACTIVITY, ReportStats: true,
	})
	if err != nil {
		return 0, fmt.Errorf("describe task queue %q: %w", workflows.QueueLive, err)
	}
	if described.GetStats().GetApproximateBacklogCount() == 0 {
		return 0, nil
	}
	return described.GetStats().GetApproximateBacklogAge().AsDuration(), nil
}
