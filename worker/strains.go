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
	// stuckWatermark is how long a watermark stands still until nobody waits for it: that is for people, and to hold backfills
	// back would not mend it.
	stuckWatermark = time.Minute
	// waitsTooLong is how long a chunk of a live run may wait for a slot.
	waitsTooLong = 2 * time.Second
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
	delayed   uint64    // inserts delayed until the last look
	looked    bool
}

// measure looks around once; see governor.Config. It is not safe for concurrent use.
func (s *strains) measure(ctx context.Context) ([]governor.Strain, error) {
	found, err := s.events.Strain(ctx)
	if err != nil {
		return nil, err
	}
	watermark, err := s.events.Watermark(ctx)
	if err != nil {
		return nil, err
	}
	waiting, err := s.liveWaits(ctx)
	if err != nil {
		return nil, err
	}
	seen := s.ofClickHouse(found)
	if watermark.Complete {
		seen = append(seen, s.ofWatermark(found.Now, watermark.At)...)
	}
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
