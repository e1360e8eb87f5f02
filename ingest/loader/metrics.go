package loader

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are counters of what was done, and a look at Status for what stands.
type metrics struct {
	registerer    prometheus.Registerer
	rows          prometheus.Counter
	blocks        prometheus.Counter
	insertSeconds prometheus.Histogram
	insertErrors  prometheus.Counter
	blockRows     prometheus.Histogram
	blockBytes    prometheus.Histogram
	ownerless     prometheus.Gauge
	unreadable    prometheus.Counter
	duplicates    prometheus.Counter
	repairs       *prometheus.CounterVec
	standing      *standing
}

// newMetrics registers the metrics. Status is asked for when they are; age tells how long ago a time of ClickHouse's was.
func newMetrics(registerer prometheus.Registerer, status func() []PartitionStatus, age func(time.Time) time.Duration) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "millrace", Subsystem: "loader", Name: name, Help: help})
	}
	m := &metrics{
		registerer: registerer,
		rows:       counter("rows_total", "Rows that are in ClickHouse and committed in Kafka."),
		blocks:     counter("blocks_total", "Blocks that ClickHouse has answered for; each is one part of the events table."),
		insertSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "millrace", Subsystem: "loader", Name: "insert_seconds", Help: "Seconds from sending a block to ClickHouse's answer.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}),
		blockRows: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "millrace", Subsystem: "loader", Name: "block_rows", Help: "Rows of each planned block.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 11),
		}),
		blockBytes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "millrace", Subsystem: "loader", Name: "block_bytes", Help: "Bytes of the messages of each planned block.",
			Buckets: prometheus.ExponentialBuckets(1024, 4, 10),
		}),
		ownerless: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "millrace", Subsystem: "loader", Name: "partitions_without_owner",
			Help: "Partitions of the topic that no member of the group has, as the group last told, every 10 s. During a rebalance that is all.",
		}),
		insertErrors: counter("insert_errors_total", "Attempts to insert a block that failed or whose answer was lost; the block is kept and sent again."),
		unreadable:   counter("quarantined_messages_total", "Messages that went to the table quarantine because they cannot be read. Capture produces none."),
		duplicates:   counter("duplicates_total", "Events that were not loaded because the same is there already, within the window of duplicates."),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "millrace", Subsystem: "loader", Name: "repairs_total",
			Help: "What came of open plans and of inserts without an answer that counts: loaded (the rows were there), repeated (sent again by the same token), planned_again (by a new one), stopped (left to people).",
		}, []string{"outcome"}),
		standing: newStanding(status, age),
	}
	for _, outcome := range []string{"loaded", "repeated", "planned_again", "stopped"} {
		m.repairs.WithLabelValues(outcome) // so that each is there from the start
	}
	for i, collector := range m.collectors() {
		if err := registerer.Register(collector); err != nil {
			for _, registered := range m.collectors()[:i] {
				registerer.Unregister(registered)
			}
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.rows, m.blocks, m.insertSeconds, m.blockRows, m.blockBytes, m.ownerless, m.insertErrors, m.unreadable, m.duplicates, m.repairs, m.standing}
}

func (m *metrics) repaired(outcome string) { m.repairs.WithLabelValues(outcome).Inc() }

func (m *metrics) unregister() {
	for _, collector := range m.collectors() {
		m.registerer.Unregister(collector)
	}
}

// standing reads the status of the claimed partitions when it is asked, so that a stuck goroutine shows.
type standing struct {
	status  func() []PartitionStatus
	since   func(time.Time) time.Duration
	lag     *prometheus.Desc
	age     *prometheus.Desc
	stuck   *prometheus.Desc
	stopped *prometheus.Desc
}

func newStanding(status func() []PartitionStatus, since func(time.Time) time.Duration) *standing {
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("millrace_loader_"+name, help, []string{"partition"}, nil)
	}
	return &standing{
		status:  status,
		since:   since,
		lag:     describe("lag_messages", "Messages in Kafka that are not loaded yet, of each partition claimed here."),
		age:     describe("watermark_age_seconds", "Seconds from the partition's watermark to ClickHouse's clock, of each partition claimed here. The least watermark holds every export of events back."),
		stuck:   describe("stuck_seconds", "Seconds for which messages wait in Kafka and nothing of the partition was loaded, of each partition assigned here; 0 without lag. Also while it cannot be found out where the partition stands."),
		stopped: describe("partition_stopped", "1 if the partition waits for people to act; the log says why."),
	}
}

// Describe implements prometheus.Collector.
func (s *standing) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- s.lag
	descriptions <- s.age
	descriptions <- s.stuck
	descriptions <- s.stopped
}

// Collect implements prometheus.Collector.
func (s *standing) Collect(metrics chan<- prometheus.Metric) {
	for _, p := range s.status() {
		partition := strconv.Itoa(int(p.Partition))
		gauge := func(description *prometheus.Desc, value float64) {
			metrics <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, partition)
		}
		stopped := 0.0
		if p.Stopped != "" {
			stopped = 1
		}
		if p.isWaiting { // nothing else is known
			gauge(s.stuck, time.Since(p.progressed).Seconds())
			continue
		}
		gauge(s.lag, float64(p.End-p.Next))
		if !p.Watermark.IsZero() {
			gauge(s.age, s.since(p.Watermark).Seconds())
		}
		stuck := 0.0
		if p.End > p.Next {
			stuck = time.Since(p.progressed).Seconds()
		}
		gauge(s.stuck, stuck)
		gauge(s.stopped, stopped)
	}
}
