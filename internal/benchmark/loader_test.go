//go:build bench

package benchmark

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/testworld"
)

// TestLoaderAgainstPlainInsert loads a topic that is full already, by the real binary, and then sends the very blocks that
// it made, decoded in advance, by clickhouse-go alone: by as many connections as there are partitions, and by one.
func TestLoaderAgainstPlainInsert(t *testing.T) {
	backlog := fill(t, 0, number(t, "MILLRACE_BENCH_ROWS", 1_000_000))
	fmt.Printf("machine: %d CPUs for ClickHouse, the broker and the loader together; %s/%s, %s; ClickHouse %s\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), version(t))
	fmt.Printf("events: %d in %d partitions; a message has %d B on average; %d pairs in turn\n\n", backlog.size(), partitions, backlog.bytes/backlog.size(), pairs)
	fmt.Printf("load: until all full blocks are committed, and in parentheses until the last, which wait 2 s; the ratios are of the rows of full blocks\n")
	fmt.Printf("%5s %8s %17s %8s %12s %8s %7s   %10s %10s   %10s %10s\n", "pair", "start", "load", "its CPU", "rows/CPU-s", "peak", "blocks", "INSERT ×8", "÷load", "INSERT ×1", "÷load")
	var rates, parallel, single []float64
	for pair := range pairs + 1 {
		loaded := backlog.load(t)
		at8, at1 := backlog.insert(t, loaded.blocks, partitions), backlog.insert(t, loaded.blocks, 1)
		if pair == 0 {
			continue // the first warms all up
		}
		rates = append(rates, float64(backlog.size())/loaded.cpu.Seconds())
		share := float64(loaded.rows) / float64(backlog.size()) // of the rows that the time is of
		parallel, single = append(parallel, share*at8.took.Seconds()/loaded.took.Seconds()), append(single, share*at1.took.Seconds()/loaded.took.Seconds())
		fmt.Printf("%5d %7.2fs %7.2fs (%5.2fs) %7.2fs %12.0f %4d MiB %7d   %9.2fs %10.2f   %9.2fs %10.2f\n", pair, loaded.start.Seconds(), loaded.took.Seconds(), loaded.whole.Seconds(), loaded.cpu.Seconds(),
			rates[pair-1], loaded.peak, len(loaded.blocks), at8.took.Seconds(), parallel[pair-1], at1.took.Seconds(), single[pair-1])
		fmt.Printf("%*s client's CPU of the INSERTs: %.2fs and %.2fs; load on the machine before this pair: %s\n", 5, "", at8.cpu.Seconds(), at1.cpu.Seconds(), loaded.others)
	}
	for name, values := range map[string][]float64{"rows per CPU-second": rates, "INSERT by 8 connections ÷ load": parallel, "INSERT by 1 connection ÷ load": single} {
		fmt.Printf("%-32s median %.2f, range %.2f-%.2f\n", name, median(values), slices.Min(values), slices.Max(values))
	}
}

// TestLoaderWithFullWindows has a loader take over eight partitions with a million loaded events each, so that it first
// reads eight million again to know them, and then loads with eight full windows of duplicates.
func TestLoaderWithFullWindows(t *testing.T) {
	known := number(t, "MILLRACE_BENCH_WINDOW", 1_000_000)
	backlog := fill(t, known, number(t, "MILLRACE_BENCH_ROWS", 1_000_000)/2)
	loaded := backlog.load(t)
	fmt.Printf("%d partitions with %d events each that are loaded already, and then %d together that are not\n\n", partitions, known, backlog.size())
	fmt.Printf("from start to last commit: %.2fs, %.2fs CPU, of which after the first block %.2fs, %.2fs CPU\n", (loaded.start + loaded.whole).Seconds(), loaded.cpu.Seconds(), loaded.steady.Seconds(), loaded.steadyCPU.Seconds())
	fmt.Printf("peak memory of the loader (VmHWM): %d MiB\n\n", loaded.peak)
}

// partitions of the topic. One process loads them all.
const partitions = 8

// backlog is a topic that was filled before anything is measured, and the rows that its messages become.
type backlog struct {
	kafka broker.Config
	first int64                   // from which offset on each partition is to be loaded
	rows  [partitions][]event.Row // of each partition, from first on
	bytes int                     // of the messages that are to be loaded
}

func (b *backlog) size() int {
	size := 0
	for _, rows := range b.rows {
		size += len(rows)
	}
	return size
}

// fill makes a topic as capture would: messages keyed by person, compressed with zstd. Each partition begins with small
// events that count as loaded already; behind them come events of a kilobyte.
func fill(t *testing.T, known, count int) *backlog {
	t.Helper()
	b := &backlog{kafka: broker.Config{Brokers: broker.ParseBrokers(testworld.Env(t, "MILLRACE_KAFKA_BROKERS")), Topic: testworld.Name(t)}, first: int64(known)}
	if _, err := broker.EnsureTopic(t.Context(), b.kafka, broker.Settings{Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	random := testworld.Rand(t)
	received := time.Now().UTC().Truncate(time.Microsecond)
	b.send(t, sarama.NewManualPartitioner, known*partitions, func(i int) *sarama.ProducerMessage {
		message := event.Message{TeamID: 1, UUID: someID(random), ReceivedAt: received, Event: []byte(`{"event":"seen","distinct_id":"p"}`)}
		return &sarama.ProducerMessage{Topic: b.kafka.Topic, Partition: int32(i % partitions), Value: sarama.ByteEncoder(message.AppendJSON(nil))}
	}, nil)
	var texts [partitions][]byte
	b.send(t, sarama.NewHashPartitioner, count, func(i int) *sarama.ProducerMessage {
		person := fmt.Sprintf("user-%07d", random.IntN(2_000_000))
		received = received.Add(time.Duration(random.IntN(20)) * time.Microsecond)
		message := event.Message{TeamID: 1, UUID: someID(random), ReceivedAt: received, SentAt: received.Add(-30 * time.Millisecond), IP: "192.0.2.7", Event: pageView(random, person, received)}
		return &sarama.ProducerMessage{Topic: b.kafka.Topic, Key: broker.Key(1, person), Value: sarama.ByteEncoder(message.AppendJSON(nil))}
	}, func(message *sarama.ProducerMessage) {
		value := []byte(message.Value.(sarama.ByteEncoder))
		row, err := event.ParseMessage(value)
		if err != nil {
			t.Fatal(err)
		}
		if want := b.first + int64(len(b.rows[message.Partition])); message.Offset != want {
			t.Fatalf("a message was written at offset %d, not at %d", message.Offset, want)
		}
		b.bytes += len(value)
		texts[message.Partition] = append(append(append(texts[message.Partition], row.Event...), row.DistinctID...), row.Properties...)
		b.rows[message.Partition] = append(b.rows[message.Partition], row)
	})
	// One text for each partition instead of millions of small ones, so that this process's own garbage collector has
	// nothing to do with them while the rival is measured.
	for partition, rows := range b.rows {
		text := string(texts[partition])
		cut := func(size int) (piece string) { piece, text = text[:size], text[size:]; return piece }
		for i := range rows {
			row := &rows[i]
			row.Event, row.DistinctID, row.Properties = cut(len(row.Event)), cut(len(row.DistinctID)), cut(len(row.Properties))
		}
	}
	runtime.GC()
	return b
}

// send writes so many messages and calls acknowledged for each in the order of its partition.
func (b *backlog) send(t *testing.T, partitioner sarama.PartitionerConstructor, count int, message func(int) *sarama.ProducerMessage, acknowledged func(*sarama.ProducerMessage)) {
	t.Helper()
	config := broker.ProducerConfig(b.kafka)
	config.Producer.Partitioner = partitioner
	producer, err := sarama.NewAsyncProducer(b.kafka.Brokers, config)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	go func() {
		for i := range count {
			producer.Input() <- message(i)
		}
	}()
	for range count {
		select {
		case sent := <-producer.Successes():
			if acknowledged != nil {
				acknowledged(sent)
			}
		case failed := <-producer.Errors():
			t.Fatal(failed)
		}
	}
}

// pageView is what a browser's library sends: names repeat, ids, times and what people type do not.
func pageView(random randomness, person string, at time.Time) []byte {
	page := random.IntN(20_000)
	return fmt.Appendf(nil, `{"uuid":"%s","event":"%s","distinct_id":"%s","timestamp":"%s","properties":{"$current_url":"https://shop.example/products/%d/%x?ref=%d&utm_source=newsletter&utm_campaign=autumn-%d","$host":"shop.example","$pathname":"/products/%d","$browser":"%s","$browser_version":%d,"$os":"%s","$device_type":"Desktop","$raw_user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/%d.0","$screen_height":%d,"$screen_width":%d,"$viewport_height":%d,"$viewport_width":%d,"$referrer":"https://search.example/?q=%x","$referring_domain":"search.example","$lib":"web","$lib_version":"1.%d.%d","$insert_id":"%016x","$session_id":"%016x-%016x","$window_id":"%016x-%016x","$time":%d.%03d,"price":%d.%02d,"quantity":%d,"plan":"%s","token":"mr_shop_0123456789"}}`,
		someID(random), []string{"$pageview", "$pageleave", "$autocapture", "signup", "purchase"}[random.IntN(5)], person, at.Add(-time.Second).Format("2006-01-02T15:04:05.000Z"),
		page, random.Uint64(), random.IntN(500), random.IntN(40), page, []string{"Firefox", "Chrome", "Safari", "Edge"}[random.IntN(4)], 100+random.IntN(40), []string{"Linux", "Windows", "Mac OS X"}[random.IntN(3)],
		100+random.IntN(40), 100+random.IntN(40), 700+random.IntN(800), 1000+random.IntN(2000), 600+random.IntN(800), 900+random.IntN(2000), random.Uint64(), random.IntN(300), random.IntN(10),
		random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64(), at.Unix(), random.IntN(1000), random.IntN(1000), random.IntN(100), random.IntN(9), []string{"free", "team", "scale"}[random.IntN(3)])
}

type randomness interface {
	IntN(int) int
	Uint64() uint64
}

func someID(random randomness) uuid.UUID {
	var id uuid.UUID
	for at := 0; at < len(id); at += 8 {
		for shift, word := 0, random.Uint64(); shift < 8; shift++ {
			id[at+shift] = byte(word >> (8 * shift))
		}
	}
	return id
}

// loaded is what a loader did and took.
type loaded struct {
	start  time.Duration // from the process's start until its partitions are claimed
	took   time.Duration // from then on until all full blocks are committed
	rows   int           // of the full blocks: the last of each partition waits until it is old enough (2 s), which is no work
	whole  time.Duration // until those are committed, too
	cpu    time.Duration // user and system time of the process, from its start to the last commit
	peak   int           // of its memory, in MiB
	others string        // Linux's load averages when it began: who else wanted the processors
	blocks []blockBounds

	// From the first block's commit to the last: without start, and without reading again what is known.
	steady, steadyCPU time.Duration

	committed []committed
}

// committed is how many rows were committed at some time after the partitions were claimed.
type committed struct {
	rows  int
	after time.Duration
}

// blockBounds are the rows of one block of a partition.
type blockBounds struct {
	partition int32
	first     uint64
	rows      int
}

// load has the real binary load the whole backlog into a new event store.
func (b *backlog) load(t *testing.T) loaded {
	t.Helper()
	config := eventstoretest.Config(t)
	store, err := eventstore.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, config)
	group := b.kafka.Topic + ".loader"
	b.startAt(t, store, group)

	admin, err := sarama.NewClusterAdmin(b.kafka.Brokers, broker.ProducerConfig(b.kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	process := exec.Command(testworld.Env(t, "MILLRACE_BINARY"), "ingest", "--loader-only")
	process.Env = append(os.Environ(), "MILLRACE_CLICKHOUSE_URL="+config.URL, "MILLRACE_KAFKA_TOPIC="+b.kafka.Topic)
	said, err := os.Create(filepath.Join(t.TempDir(), "loader.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	process.Stderr = said
	began := time.Now()
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	result := loaded{}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		result.others = strings.Join(strings.Fields(string(text))[:2], " ")
	}
	done := b.follow(t, admin, group, process, began, &result)
	result.peak = peak(t, process)
	_ = process.Process.Signal(syscall.SIGTERM)
	if err := process.Wait(); err != nil || !done {
		text, _ := os.ReadFile(said.Name())
		t.Fatalf("the loader ended with %v, and has loaded everything: %t; it said:\n%s", err, done, text)
	}
	if err := admin.DeleteConsumerGroup(group); err != nil { // so that the next begins anew
		t.Fatal(err)
	}
	result.blocks = b.check(t, conn)
	last := map[int32]int{}
	for _, bounds := range result.blocks {
		last[bounds.partition] = bounds.rows
	}
	result.rows = b.size()
	for _, rows := range last {
		result.rows -= rows
	}
	for _, committed := range result.committed {
		if result.took = committed.after; committed.rows >= result.rows {
			break
		}
	}
	eventstoretest.Exec(t, "DROP DATABASE `"+store.Database()+"` SYNC") // so that nothing is merged while others are measured
	return result
}

// startAt makes the group begin behind what counts as loaded.
func (b *backlog) startAt(t *testing.T, store *eventstore.Store, group string) {
	t.Helper()
	if b.first == 0 {
		return
	}
	operator, err := loader.OpenOperator(store, b.kafka, group, "bench")
	if err != nil {
		t.Fatal(err)
	}
	defer operator.Close()
	for partition := range int32(partitions) {
		proposal, err := operator.Propose(t.Context(), partition, b.first)
		if err == nil {
			err = operator.Mend(t.Context(), proposal)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// follow looks at the group's commits until all is committed, and takes the time. It looks 50 times a second, which is the
// error of what it measures.
func (b *backlog) follow(t *testing.T, admin sarama.ClusterAdmin, group string, process *exec.Cmd, began time.Time, result *loaded) (done bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	all := map[string][]int32{b.kafka.Topic: {}}
	for partition := range int32(partitions) {
		all[b.kafka.Topic] = append(all[b.kafka.Topic], partition)
	}
	var claimed, first time.Time
	var firstCPU time.Duration
	for ticker := time.NewTicker(20 * time.Millisecond); time.Now().Before(deadline); <-ticker.C {
		offsets, err := admin.ListConsumerGroupOffsets(group, all)
		if err != nil {
			continue // nobody has joined yet
		}
		now, next, open := time.Now(), int64(0), false
		for partition := range int32(partitions) {
			block := offsets.GetBlock(b.kafka.Topic, partition)
			if block == nil || block.Offset < 0 {
				continue
			}
			if claimed.IsZero() && (b.first == 0 || block.Offset > b.first) {
				claimed = now
			}
			state, err := loader.ParseState(block.Metadata)
			if err != nil {
				t.Fatal(err)
			}
			next, open = next+block.Offset-b.first, open || state.Plan != nil
		}
		if count := len(result.committed); next > 0 && (count == 0 || result.committed[count-1].rows < int(next)) {
			result.committed = append(result.committed, committed{int(next), now.Sub(claimed)})
		}
		if next > 0 && first.IsZero() {
			first, firstCPU = now, cpu(t, process)
		}
		if next == int64(b.size()) && !open {
			result.cpu = cpu(t, process)
			result.start, result.whole = claimed.Sub(began), now.Sub(claimed)
			result.steady, result.steadyCPU = now.Sub(first), result.cpu-firstCPU
			return true
		}
	}
	return false
}

// check holds the table against what was sent, and answers the blocks that it came in.
func (b *backlog) check(t *testing.T, conn clickhouse.Conn) []blockBounds {
	t.Helper()
	var rows, different, properties uint64
	if err := conn.QueryRow(t.Context(), "SELECT count(), uniqExact(source, source_offset), sum(length(properties)) FROM events").Scan(&rows, &different, &properties); err != nil {
		t.Fatal(err)
	}
	var want uint64
	for _, partition := range b.rows {
		for _, row := range partition {
			want += uint64(len(row.Properties))
		}
	}
	if rows != uint64(b.size()) || different != rows || properties != want {
		t.Fatalf("%d rows of %d messages, with %d B of properties; want %d messages with %d B", rows, different, properties, b.size(), want)
	}
	answer, err := conn.Query(t.Context(), "SELECT source, min(source_offset), count() FROM events GROUP BY source, inserted_at ORDER BY inserted_at")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	var blocks []blockBounds
	for answer.Next() {
		var source string
		var count uint64
		var bounds blockBounds
		if err := answer.Scan(&source, &bounds.first, &count); err != nil {
			t.Fatal(err)
		}
		partition, err := strconv.Atoi(source[strings.LastIndexByte(source, '/')+1:])
		if err != nil {
			t.Fatal(err)
		}
		bounds.partition, bounds.rows = int32(partition), int(count)
		blocks = append(blocks, bounds)
	}
	if err := answer.Err(); err != nil {
		t.Fatal(err)
	}
	return blocks
}

// inserted is what the rival took.
type inserted struct{ took, cpu time.Duration }

// insert sends the same blocks into a table of the same definition by so many connections, each its share of the partitions:
// one block for each insert, compressed as ours. The columns are ready before the time is taken.
func (b *backlog) insert(t *testing.T, blocks []blockBounds, connections int) inserted {
	t.Helper()
	config := eventstoretest.Config(t)
	store, err := eventstore.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	now, err := store.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	prepared := make([][][]any, connections)
	for _, bounds := range blocks {
		rows := b.rows[bounds.partition][int64(bounds.first)-b.first:][:bounds.rows]
		share := int(bounds.partition) % connections
		prepared[share] = append(prepared[share], columns(rows, now, fmt.Sprintf("bench/topic/%d", bounds.partition), bounds.first))
	}
	conn := connect(t, config)
	runtime.GC()
	var each sync.WaitGroup
	errs := make([]error, connections)
	cpuBefore, began := ownCPU(t), time.Now()
	for share := range connections {
		each.Go(func() {
			for _, columns := range prepared[share] {
				if errs[share] = insertColumns(t.Context(), conn, columns); errs[share] != nil {
					return
				}
			}
		})
	}
	each.Wait()
	result := inserted{took: time.Since(began), cpu: ownCPU(t) - cpuBefore}
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	if again := b.check(t, conn); len(again) == 0 {
		t.Fatal("no blocks were inserted")
	}
	eventstoretest.Exec(t, "DROP DATABASE `"+store.Database()+"` SYNC")
	return result
}

// columns are a block as clickhouse-go takes it, in the order of insertColumns.
func columns(rows []event.Row, arrival time.Time, source string, first uint64) []any {
	teams, ids := make([]int64, len(rows)), make([]uuid.UUID, len(rows))
	names, distinctIDs, properties := make([]string, len(rows)), make([]string, len(rows)), make([]string, len(rows))
	timestamps, received, offsets := make([]time.Time, len(rows)), make([]time.Time, len(rows)), make([]uint64, len(rows))
	for i, row := range rows {
		teams[i], ids[i], names[i], distinctIDs[i], properties[i] = row.TeamID, row.UUID, row.Event, row.DistinctID, row.Properties
		timestamps[i], received[i], offsets[i] = row.Timestamp, row.ReceivedAt, first+uint64(i)
	}
	return []any{teams, ids, names, distinctIDs, timestamps, properties, received,
		slices.Repeat([]time.Time{arrival}, len(rows)), slices.Repeat([]string{source}, len(rows)), offsets}
}

func insertColumns(ctx context.Context, conn clickhouse.Conn, columns []any) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"async_insert": 0}))
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO events (team_id, uuid, event, distinct_id, timestamp, properties, received_at, inserted_at, source, source_offset)")
	if err != nil {
		return err
	}
	for i, column := range columns {
		if err := batch.Column(i).Append(column); err != nil {
			return err
		}
	}
	return batch.Send()
}

func connect(t *testing.T, config eventstore.Config) clickhouse.Conn {
	t.Helper()
	options, err := clickhouse.ParseDSN(config.URL)
	if err != nil {
		t.Fatal(err)
	}
	options.ReadTimeout = 10 * time.Minute
	options.MaxOpenConns, options.MaxIdleConns = 2*partitions, 2*partitions
	options.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func version(t *testing.T) (version string) {
	t.Helper()
	if err := connect(t, eventstore.Config{URL: testworld.Env(t, "MILLRACE_CLICKHOUSE_URL")}).QueryRow(t.Context(), "SELECT version()").Scan(&version); err != nil {
		t.Fatal(err)
	}
	return version
}

// cpu is how much user and system time a process has used, by Linux's account, which counts hundredths of a second.
func cpu(t *testing.T, process *exec.Cmd) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// The program's name stands in parentheses and may hold anything; user and system time are the 12th and 13th field after it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		count, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += count
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// ownCPU is the same of this process.
func ownCPU(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
