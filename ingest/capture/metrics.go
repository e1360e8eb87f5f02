package capture

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
)

type metrics struct {
	accepted    *prometheus.CounterVec
	refused     *prometheus.CounterVec
	requests    *prometheus.CounterVec
	withoutUUID prometheus.Counter
	replaced    prometheus.Counter
	ack         prometheus.Histogram
	bytes       prometheus.Histogram
	inFlight    prometheus.Gauge
	connected   prometheus.Gauge
}

// newMetrics registers the metrics; it fails when the registerer has them already, as with two captures on one.
func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	const prefix = "millrace_capture_"
	m := &metrics{
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "events_accepted_total",
			Help: "Events that Kafka acknowledged on all in-sync replicas in requests answered 200, by team id.",
		}, []string{"team"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "events_refused_total",
			Help: "Events that cannot be taken as they are, by reason. The client was told; sending them again is refused again.",
		}, []string{"reason"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_total",
			Help: "Requests answered, by status code and the answer's error word, which is none for 200.",
		}, []string{"code", "error"}),
		withoutUUID: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "events_without_uuid_total",
			Help: "Accepted events whose client sent no valid uuid. When such a client repeats a request the event may be there twice.",
		}),
		replaced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "timestamps_replaced_total",
			Help: "Accepted events whose own time could not be used, so that they count as happened when received.",
		}),
		ack: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    prefix + "acknowledge_seconds",
			Help:    "Seconds from handing a request's events to the producer until Kafka acknowledged all of them, or the request gave up.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		bytes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    prefix + "request_bytes",
			Help:    "Bytes of a request's body after decompression.",
			Buckets: prometheus.ExponentialBuckets(256, 4, 9),
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "in_flight_bytes",
			Help: "Bytes that requests hold now, of at most the configured bound; at the bound requests are answered 503.",
		}),
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "kafka_connected",
			Help: "1 when events go into Kafka, 0 from a failure until events went in again and none failed for 3 s, and before Kafka was first reached.",
		}),
	}
	for _, reason := range event.Reasons() {
		m.refused.WithLabelValues(string(reason)) // so that a rate is zero, not absent, before the first
	}
	for _, collector := range []prometheus.Collector{m.accepted, m.refused, m.requests, m.withoutUUID, m.replaced, m.ack, m.bytes, m.inFlight, m.connected} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}
