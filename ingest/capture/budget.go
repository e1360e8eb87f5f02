package capture

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// budget bounds the bytes that all requests hold together. It never waits: a request that held some bytes and waited
// for more could wait for another that does the same.
type budget struct {
	limit int64
	used  atomic.Int64
	gauge prometheus.Gauge
}

func (b *budget) take(bytes int64) bool {
	if b.used.Add(bytes) > b.limit {
		b.used.Add(-bytes)
		return false
	}
	b.gauge.Add(float64(bytes))
	return true
}

func (b *budget) give(bytes int64) {
	b.used.Add(-bytes)
	b.gauge.Sub(float64(bytes))
}

// share is what one request holds of the budget. It is used by one goroutine at a time.
type share struct {
	budget *budget
	held   int64
}

// hold makes the share so large, or so small; false, and nothing has changed, when the budget has not so much left.
func (s *share) hold(bytes int64) bool {
	switch {
	case bytes > s.held:
		if !s.budget.take(bytes - s.held) {
			return false
		}
	case bytes < s.held:
		s.budget.give(s.held - bytes)
	}
	s.held = bytes
	return true
}

func (s *share) release() { s.hold(0) }
