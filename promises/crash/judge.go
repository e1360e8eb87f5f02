package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"github.com/millrace/millrace/ingest/broker"
)

// Judge holds the table against what was accepted and against Kafka's own log. It reaches ClickHouse past the proxies.
type Judge struct {
	rows  driver.Conn
	kafka broker.Config
	topic broker.Topic

	// What Kafka's log has, as far as it was read: where each event comes first, which messages are no events, and how many
	// are copies of events before them.
	read     []int64 // the next offset of each partition
	first    map[uuid.UUID]place
	unread   map[place]bool
	copies   int
	reported map[string]bool
}

// isPast tells rows that no loader has loaded; see loadPast.
const isPast = "startsWith(source, 'past/')"

// place is a message of Kafka's log.
type place struct {
	partition int32
	offset    uint64
}

// NewJudge judges the table behind rows by the topic's log.
func NewJudge(rows driver.Conn, kafka broker.Config, topic broker.Topic) *Judge {
	return &Judge{
		rows: rows, kafka: kafka, topic: topic, read: make([]int64, topic.Settings.Partitions),
		first: map[uuid.UUID]place{}, unread: map[place]bool{}, reported: map[string]bool{},
	}
}

// Glance looks for what must not be at any moment: rows that are there twice, arrivals that fall with rising offsets, and
// rows that appeared below a watermark that a reader saw. It returns faults, and an error if it could not look.
func (j *Judge) Glance(ctx context.Context, reader *Reader) (faults []string, err error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	samples, back := reader.Samples() // before the table, which has at least what they saw

	var count, events, places, falls uint64
	err = j.rows.QueryRow(ctx, `SELECT count(), uniqExact(uuid), uniqExact(source, source_offset) FROM events WHERE NOT `+isPast).Scan(&count, &events, &places)
	if err != nil {
		return nil, fmt.Errorf("count the rows: %w", err)
	}
	if events != count {
		fault("%d rows hold %d events: some are there twice", count, events)
	}
	if places != count {
		fault("%d rows come from %d offsets: some were loaded twice", count, places)
	}
	err = j.rows.QueryRow(ctx, `SELECT countIf(inserted_at < before) FROM (SELECT inserted_at,
		lagInFrame(inserted_at, 1, inserted_at) OVER (PARTITION BY source ORDER BY source_offset) AS before FROM events WHERE NOT `+isPast+`)`).Scan(&falls)
	if err != nil {
		return nil, fmt.Errorf("look for arrivals that fall: %w", err)
	}
	if falls > 0 {
		fault("arrival falls %d times within a partition", falls)
	}
	if back > 0 {
		fault("the watermark went back %d times", back)
	}
	broken, err := j.brokenWatermarks(ctx, samples)
	if err != nil {
		return nil, err
	}
	return append(faults, broken...), nil
}

// brokenWatermarks counts again, at once for all samples.
func (j *Judge) brokenWatermarks(ctx context.Context, samples []Sample) (faults []string, err error) {
	rows, err := j.rows.Query(ctx, `SELECT toUnixTimestamp64Micro(inserted_at) AS at, count() FROM events GROUP BY at ORDER BY at`)
	if err != nil {
		return nil, fmt.Errorf("count the rows below watermarks: %w", err)
	}
	defer rows.Close()
	next, below := 0, uint64(0)
	settle := func(before int64) {
		for ; next < len(samples) && samples[next].At < before; next++ {
			if s := samples[next]; s.Rows != below && len(faults) < 3 {
				faults = append(faults, fmt.Sprintf("at the watermark %s a reader saw %d rows, and there are %d now", time.UnixMicro(s.At).UTC().Format(time.RFC3339Nano), s.Rows, below))
			}
		}
	}
	for rows.Next() {
		var at int64
		var count uint64
		if err := rows.Scan(&at, &count); err != nil {
			return nil, err
		}
		settle(at)
		below += count
	}
	settle(1 << 62)
	return faults, rows.Err()
}

// ReadLog reads what Kafka's log has got since it was read last. Nobody may write meanwhile.
func (j *Judge) ReadLog(ctx context.Context) error {
	client, err := broker.NewClient(j.kafka)
	if err != nil {
		return err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	for partition := range int32(len(j.read)) {
		end, err := client.GetOffset(j.topic.Name, partition, sarama.OffsetNewest)
		if err != nil {
			return fmt.Errorf("find the end of partition %d: %w", partition, err)
		}
		if j.read[partition] >= end {
			continue
		}
		if err := j.readPartition(ctx, consumer, partition, end); err != nil {
			return fmt.Errorf("read partition %d of kafka's log: %w", partition, err)
		}
	}
	return nil
}

func (j *Judge) readPartition(ctx context.Context, consumer sarama.Consumer, partition int32, end int64) error {
	messages, err := consumer.ConsumePartition(j.topic.Name, partition, j.read[partition])
	if err != nil {
		return err
	}
	defer messages.Close()
	for j.read[partition] < end {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case message := <-messages.Messages():
			at := place{partition, uint64(message.Offset)}
			j.read[partition] = message.Offset + 1
			var sent struct {
				UUID uuid.UUID `json:"uuid"`
			}
			if json.Unmarshal(message.Value, &sent) != nil || sent.UUID == uuid.Nil {
				j.unread[at] = true
				continue
			}
			if _, isCopy := j.first[sent.UUID]; isCopy {
				j.copies++
				continue
			}
			j.first[sent.UUID] = at
		}
	}
	return nil
}

// Loaded tells how many messages of the log are not settled yet: negative if there is more than there should be.
func (j *Judge) Loaded(ctx context.Context) (missing int64, err error) {
	var events, quarantined uint64
	if err := j.rows.QueryRow(ctx, `SELECT (SELECT count() FROM events WHERE NOT `+isPast+`), (SELECT count() FROM quarantine FINAL)`).Scan(&events, &quarantined); err != nil {
		return 0, fmt.Errorf("count what is loaded: %w", err)
	}
	return int64(len(j.first)+len(j.unread)) - int64(events+quarantined), nil
}

// Sentence compares everything, when all that was sent is loaded: each event of Kafka's log is a row, once, from the offset
// at which it came first; each message that is no event is in quarantine, and nothing else is anywhere; and what was
// accepted is in Kafka's log.
func (j *Judge) Sentence(ctx context.Context, accepted map[uuid.UUID]bool) (faults []string, err error) {
	fault := func(format string, args ...any) {
		if len(faults) < 20 {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	absent := 0
	for id := range accepted {
		if _, is := j.first[id]; !is {
			absent++
		}
	}
	if absent > 0 {
		fault("%d of %d accepted events are not in kafka", absent, len(accepted))
	}
	rows, err := j.rows.Query(ctx, `SELECT uuid, toInt32(splitByChar('/', source)[3]), source_offset, startsWith(source, ?) FROM events WHERE NOT `+isPast, j.topic.ClusterID+"/"+j.topic.ID+"/")
	if err != nil {
		return nil, fmt.Errorf("read the events: %w", err)
	}
	defer rows.Close()
	seen := make(map[uuid.UUID]bool, len(j.first))
	var twice, strange, elsewhere int
	for rows.Next() {
		var id uuid.UUID
		var at place
		var isOurs bool
		if err := rows.Scan(&id, &at.partition, &at.offset, &isOurs); err != nil {
			return nil, err
		}
		first, is := j.first[id]
		switch {
		case !is || !isOurs:
			strange++
		case seen[id]:
			twice++
		case first != at:
			elsewhere++
		}
		seen[id] = true
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	lost := 0
	for id := range j.first {
		if !seen[id] {
			lost++
		}
	}
	if lost+twice+strange+elsewhere > 0 {
		fault("of %d events in kafka %d are lost, %d are there twice, %d come from another offset than the first; %d rows come from nowhere", len(j.first), lost, twice, elsewhere, strange)
	}
	return j.quarantined(ctx, faults)
}

func (j *Judge) quarantined(ctx context.Context, faults []string) ([]string, error) {
	rows, err := j.rows.Query(ctx, `SELECT toInt32(splitByChar('/', source)[3]), source_offset FROM quarantine FINAL`)
	if err != nil {
		return nil, fmt.Errorf("read the quarantine: %w", err)
	}
	defer rows.Close()
	seen, strange := 0, 0
	for rows.Next() {
		var at place
		if err := rows.Scan(&at.partition, &at.offset); err != nil {
			return nil, err
		}
		if j.unread[at] {
			seen++
		} else {
			strange++
		}
	}
	if seen != len(j.unread) || strange > 0 {
		faults = append(faults, fmt.Sprintf("of %d messages that cannot be read %d are in quarantine, and %d that can", len(j.unread), seen, strange))
	}
	return faults, rows.Err()
}

// Counts are what Kafka's log has: events, copies of them, and messages that are none.
func (j *Judge) Counts() (events, copies, unreadable int) {
	return len(j.first), j.copies, len(j.unread)
}

// news are the faults that were not told before.
func (j *Judge) news(faults []string) []string {
	return slices.DeleteFunc(slices.Clone(faults), func(fault string) bool {
		told := j.reported[fault]
		j.reported[fault] = true
		return told
	})
}
