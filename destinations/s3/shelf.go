package s3

import (
	"context"
	"sync"
)

// buffers are parts of the small size that nobody uses, for all chunks of the process.
var buffers = sync.Pool{New: func() any { buffer := make([]byte, smallPart); return &buffer }}

// shelf bounds the parts of one upload in memory: as many as are on their way, and one that fills, which at the
// beginning is the first part that the upload was given.
type shelf struct {
	free   chan []byte // nil stands for a buffer that was not made yet
	pooled []*[]byte
}

func newShelf() *shelf {
	s := &shelf{free: make(chan []byte, partsInFlight+1)}
	for range partsInFlight {
		s.free <- nil
	}
	return s
}

// take waits for a free buffer and answers false when ctx ends before.
func (s *shelf) take(ctx context.Context, size int) ([]byte, bool) {
	var buffer []byte
	select {
	case buffer = <-s.free:
	case <-ctx.Done():
		return nil, false
	}
	switch {
	case cap(buffer) >= size:
		return buffer[:size], true
	case size == smallPart:
		pooled := buffers.Get().(*[]byte)
		s.pooled = append(s.pooled, pooled)
		return (*pooled)[:size], true
	}
	return make([]byte, size), true
}

// putBack never waits: there are no more buffers than places.
func (s *shelf) putBack(buffer []byte) { s.free <- buffer }

// clear gives the buffers to other uploads; nothing may use them any more.
func (s *shelf) clear() {
	for _, pooled := range s.pooled {
		buffers.Put(pooled)
	}
	s.pooled = nil
}
