package eventstore

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Mark is the watermark of one partition, as its owner publishes it.
type Mark struct {
	// Source names the partition, as in Block.
	Source string
	// Topic is the topic's id (not its name), Partition the partition's number, and Partitions how many the topic has.
	Topic      string
	Partition  int32
	Partitions int32
	// At is the arrival time up to which the partition is complete. The zero time means `new`: the partition is on the
	// roster and has promised nothing yet, which makes every reader wait.
	At time.Time
	// New tells that the partition is on the roster and has promised nothing since, which makes every reader wait, whatever
	// At says: it is new, or comes back from being retired.
	New bool
	// Retired takes the partition off the roster: readers pass it over. Only a mark with a later At brings it back.
	Retired bool
	// Offset is the first offset that is not loaded yet.
	Offset uint64
	// Behind is how many messages Kafka held from Offset on, by what the owner knew of its end, which is a few seconds old.
	Behind uint64
	// Owner names the process that publishes, for people.
	Owner string
}

// IsNew tells a partition that is on the roster and has promised nothing yet.
func (m Mark) IsNew() bool { return !m.Retired && (m.New || m.At.IsZero()) }

// IsRetired tells a partition that was taken off the roster.
func (m Mark) IsRetired() bool { return m.Retired }

// The states of a mark in the table.
const (
	stateNew     = "new"
	stateRetired = "retired"
)

func (m Mark) state() string {
	switch {
	case m.Retired:
		return stateRetired
	case m.IsNew():
		return stateNew
	}
	return ""
}

// PublishWatermarks adds marks to the roster, in one insert. Readers take the greatest of each partition, so an older
// mark that comes late, or the same one twice, changes nothing.
func (s *Store) PublishWatermarks(ctx context.Context, marks []Mark) error {
	if len(marks) == 0 {
		return nil
	}
	return wrap("publish watermarks", s.insertMarks(withPlainInsert(ctx), marks))
}

func (s *Store) insertMarks(ctx context.Context, marks []Mark) error {
	batch, err := s.prepare(ctx, "INSERT INTO watermarks (topic, partition, partitions, source, at, next_offset, behind, owner, state)")
	if err != nil {
		return err
	}
	for _, mark := range marks {
		at := mark.At
		if at.IsZero() {
			at = time.Unix(0, 0)
		}
		if err := batch.Append(mark.Topic, mark.Partition, mark.Partitions, mark.Source, at, mark.Offset, mark.Behind, mark.Owner, mark.state()); err != nil {
			_ = batch.Abort()
			return fmt.Errorf("encode mark of %s: %w", mark.Source, err)
		}
	}
	return batch.Send()
}

// Watermark is up to when ClickHouse is complete.
type Watermark struct {
	// Complete tells that every partition of the roster has promised a time. Only then is At the watermark: the least of
	// these times.
	Complete bool
	At       time.Time
	// HeldBy is the source that holds the watermark back: the one with the least time, or the one that is missing.
	HeldBy string
	// Reason says in words why it is not Complete; empty when it is.
	Reason string
	// Topic is the id of the topic that Reason is about, for ClickHouse knows no names; empty when it is about none.
	Topic string
	// Marks are the roster, by topic and partition, with those that were retired.
	Marks []Mark
}

// watermarkQuery takes the greatest mark of each partition. The count of partitions is the greatest that any owner has
// seen: a topic only grows, and until the new partitions have owners nothing is complete.
const watermarkQuery = `SELECT topic, partition, max(partitions), argMax(source, at), toUnixTimestamp64Micro(max(at)) AS at_micros,
argMax(next_offset, at), argMax(behind, at), argMax(owner, at), argMax(state, at)
FROM watermarks GROUP BY topic, partition`

// Watermark reads roster and marks in one query. It reads every time anew, and never asks a clock.
func (s *Store) Watermark(ctx context.Context) (Watermark, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	rows, err := s.query(ctx, watermarkQuery)
	if err != nil {
		return Watermark{}, wrap("read the watermark", err)
	}
	var marks []Mark
	err = eachRow(rows, func() error {
		var mark Mark
		var micros int64
		var state string
		if err := rows.Scan(&mark.Topic, &mark.Partition, &mark.Partitions, &mark.Source, &micros, &mark.Offset, &mark.Behind, &mark.Owner, &state); err != nil {
			return err
		}
		if micros > 0 {
			mark.At = time.UnixMicro(micros).UTC()
		}
		mark.New, mark.Retired = state == stateNew, state == stateRetired
		marks = append(marks, mark)
		return nil
	})
	if err != nil {
		return Watermark{}, wrap("read the watermark", err)
	}
	return overRoster(marks), nil
}

// overRoster is the watermark over the greatest mark of each partition, in any order.
func overRoster(marks []Mark) Watermark {
	slices.SortFunc(marks, func(a, b Mark) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	onRoster := slices.DeleteFunc(slices.Clone(marks), Mark.IsRetired)
	if len(onRoster) == 0 {
		return Watermark{Marks: marks, Reason: "no loader has ever published a watermark: start `millrace ingest` or `millrace up`"}
	}
	byTopic := map[string]map[int32]Mark{}
	partitions := map[string]int32{}
	for _, mark := range marks {
		if byTopic[mark.Topic] == nil {
			byTopic[mark.Topic] = map[int32]Mark{}
		}
		byTopic[mark.Topic][mark.Partition] = mark
		partitions[mark.Topic] = max(partitions[mark.Topic], mark.Partitions)
	}
	for _, topic := range slices.Sorted(maps.Keys(partitions)) {
		count := partitions[topic]
		for partition := range count {
			mark, there := byTopic[topic][partition]
			switch {
			case !there:
				return Watermark{Marks: marks, HeldBy: fmt.Sprintf("%s/%d", topic, partition), Topic: topic,
					Reason: fmt.Sprintf("partition %d of %d of the topic with id %s has no loader yet", partition, count, topic)}
			case mark.IsNew():
				return Watermark{Marks: marks, HeldBy: mark.Source, Topic: topic,
					Reason: fmt.Sprintf("partition %d of %d of the topic with id %s is new: its loader %s has not begun", partition, count, topic, mark.Owner)}
			}
		}
	}
	least := slices.MinFunc(onRoster, func(a, b Mark) int { return a.At.Compare(b.At) })
	return Watermark{Complete: true, At: least.At, HeldBy: least.Source, Marks: marks}
}
