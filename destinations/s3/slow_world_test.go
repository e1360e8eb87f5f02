//go:build world

package s3

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/destinations"
)

// slowLink is on the way to the real store. It takes a big body piece by piece, as a slow link does, and holds that
// progress was told of each. The first big body it refuses when it has it whole, so that the client sends it again.
type slowLink struct {
	s3.HTTPClient
	t      *testing.T
	told   *atomic.Int64
	bodies atomic.Int64
}

const piece = 256 << 10

func (l *slowLink) Do(r *http.Request) (*http.Response, error) {
	if r.ContentLength < 2*piece {
		return l.HTTPClient.Do(r)
	}
	var taken bytes.Buffer
	for {
		before := l.told.Load()
		n, err := io.CopyN(&taken, r.Body, piece)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if n > 0 && l.told.Load() == before {
			l.t.Errorf("no progress was told while a body of %d bytes came to %d", r.ContentLength, taken.Len())
			break
		}
		if err != nil {
			break
		}
	}
	if l.bodies.Add(1) == 1 {
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader("<Error><Code>SlowDown</Code></Error>"))}, nil
	}
	r.Body = io.NopCloser(io.MultiReader(&taken, r.Body))
	return l.HTTPClient.Do(r)
}

// A link that takes a part in longer than a heartbeat's time is slow, and does not hang.
func TestProgressIsToldWithinABody(t *testing.T) {
	for _, test := range []struct {
		what   string
		rows   int
		bodies int64
	}{
		{"an object in one request", 7 << 10, 2},
		{"an object in parts", bigRows, 3}, // two parts and a small one
	} {
		t.Run(test.what, func(t *testing.T) {
			var told atomic.Int64
			link := &slowLink{t: t, told: &told}
			destination := newBucket(t).open(t, jsonSettings).(*Destination)
			destination.client = s3.New(destination.client.Options(), func(o *s3.Options) {
				link.HTTPClient, o.HTTPClient = o.HTTPClient, link
			})
			plan := planOf(t, test.rows)
			prepared, err := destination.Prepare(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			receipt, err := destination.WriteChunk(t.Context(), destinations.ChunkTask{
				Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: prepared.Plan.Hash(), Execution: "x", Source: lines{test.rows},
				Progress: func(uint64) { told.Add(1) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if receipt.Rows != uint64(test.rows) || link.bodies.Load() != test.bodies {
				t.Errorf("%d rows came in %d bodies", receipt.Rows, link.bodies.Load())
			}
		})
	}
}
