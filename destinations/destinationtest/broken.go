package destinationtest

import (
	"context"
	"errors"
	"testing"

	"github.com/millrace/millrace/export"
)

// broken holds what happens when the source does not give the whole chunk. Each leaves the place as it was, and the
// next attempt writes the chunk.
var broken = []promise{
	{"a source that cannot be opened", func(t *testing.T, s Subject) {
		s.breakAndRecover(t, &source{rows: 500, openFails: true}, export.KindSourceUnavailable)
	}},
	{"a source that breaks in the middle", func(t *testing.T, s Subject) {
		s.breakAndRecover(t, &source{rows: 500, breakAt: 5000}, export.KindSourceUnavailable)
	}},
	{"a source that breaks in the middle of a big chunk", func(t *testing.T, s Subject) {
		from := wide(500, s.BigChunk)
		from.breakAt = s.BigChunk * 9 / 10
		s.breakAndRecover(t, from, export.KindSourceUnavailable)
	}},
	{"a source that ends early without saying so", func(t *testing.T, s Subject) {
		s.breakAndRecover(t, &source{rows: 500, endAt: 5001}, export.KindSourceUnavailable)
	}},
	{"a big source that ends early without saying so", func(t *testing.T, s Subject) {
		from := wide(500, s.BigChunk)
		from.endAt = s.BigChunk*9/10 + 1
		s.breakAndRecover(t, from, export.KindSourceUnavailable)
	}},
	{"a source with a row too few", func(t *testing.T, s Subject) {
		s.breakAndRecover(t, rows(499), export.KindInternal)
	}},
	{"a big source with a row too many", func(t *testing.T, s Subject) {
		s.breakAndRecover(t, wide(501, s.BigChunk), export.KindInternal)
	}},
	{"cancelling while the source is read", func(t *testing.T, s Subject) {
		from := wide(500, s.BigChunk)
		from.blockAt, from.reached = s.BigChunk*9/10, make(chan struct{})
		plan := s.plan("first", 500)
		s.prepare(t, plan)
		before := s.contents(t)
		working, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			<-from.reached
			cancel()
		}()
		_, err := s.Open(t).WriteChunk(working, task(plan, 0, from))
		kindIs(t, err, export.KindCancelled)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v does not wrap context.Canceled", err)
		}
		s.sameContents(t, before)
		s.write(t, plan)
	}},
}

func (s Subject) breakAndRecover(t *testing.T, from *source, want export.Kind) {
	plan := s.plan("first", 500)
	s.prepare(t, plan)
	before := s.contents(t)
	_, err := s.Open(t).WriteChunk(t.Context(), task(plan, 0, from))
	kindIs(t, err, want)
	s.sameContents(t, before)
	s.finish(t, plan, s.write(t, plan))
}
