//go:build world

package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// between stands between the client and the real store. meddle may answer instead of it, or call pass.
func (b bucket) between(t testing.TB, meddle func(w http.ResponseWriter, r *http.Request, pass http.Handler)) bucket {
	t.Helper()
	store, err := url.Parse(b.connection.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(store) // keeps the Host header, which is signed
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { meddle(w, r, pass) }))
	t.Cleanup(server.Close)
	b.connection.Endpoint = server.URL
	return b
}

func isCompletion(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<Error><Code>%s</Code><Message>made by a test</Message></Error>`, code)
}

// swallow passes a request on and cuts the connection instead of giving its answer.
func swallow(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	pass.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

const bigRows = 2*smallPart>>10 + 100

// What may come of a completion, once; then the store behaves. Every time there is one whole object in the end, in one
// call of WriteChunk.
func TestWhateverComesOfACompletionThereIsOneObject(t *testing.T) {
	for name, meddle := range map[string]func(b bucket, w http.ResponseWriter, r *http.Request, pass http.Handler){
		"its answer is lost": func(_ bucket, w http.ResponseWriter, r *http.Request, pass http.Handler) { swallow(w, r, pass) },
		"it is lost itself":  func(bucket, http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) },
		"it has its effect and is answered 500": func(_ bucket, w http.ResponseWriter, r *http.Request, pass http.Handler) {
			pass.ServeHTTP(httptest.NewRecorder(), r)
			refuse(w, http.StatusInternalServerError, "InternalError")
		},
		"it is answered 500": func(_ bucket, w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			refuse(w, http.StatusInternalServerError, "InternalError")
		},
		"it collides (409)": func(_ bucket, w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			refuse(w, http.StatusConflict, "ConditionalRequestConflict")
		},
		"somebody aborted the upload": func(b bucket, w http.ResponseWriter, r *http.Request, pass http.Handler) {
			key, id := strings.TrimPrefix(r.URL.Path, "/"+b.connection.Bucket+"/"), r.URL.Query().Get("uploadId")
			if _, err := b.client.AbortMultipartUpload(r.Context(), &awss3.AbortMultipartUploadInput{Bucket: &b.connection.Bucket, Key: &key, UploadId: &id}); err != nil {
				panic(err)
			}
			pass.ServeHTTP(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			var met atomic.Int64
			meddled := b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if isCompletion(r) && met.Add(1) == 1 {
					meddle(b, w, r, pass)
					return
				}
				pass.ServeHTTP(w, r)
			})
			if _, err := runOnce(t.Context(), meddled.open(t, jsonSettings), planOf(t, bigRows)); err != nil {
				t.Error(err)
			}
			if met.Load() == 0 {
				t.Error("no completion was seen")
			}
			b.wantRun(t, 0)
		})
	}
}

// A part whose bytes were changed on the way must not become part of an object, and the next attempt works.
func TestBytesDamagedOnTheirWayAreRefused(t *testing.T) {
	b := newBucket(t)
	var met atomic.Int64
	meddled := b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if isPart(r) && met.Add(1) <= sendAttempts*partsInFlight {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				panic(err)
			}
			body[len(body)/2] ^= 1
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		pass.ServeHTTP(w, r)
	})
	destination, plan := meddled.open(t, jsonSettings), planOf(t, bigRows)
	_, err := runOnce(t.Context(), destination, plan)
	if export.KindOf(err) != export.KindDestinationUnavailable || !strings.Contains(err.Error(), damaged.Text) {
		t.Errorf("got %v (%s)", err, export.KindOf(err))
	}
	for _, line := range b.contents(t) {
		if strings.HasPrefix(line, "unfinished ") || strings.Contains(line, ".jsonl") {
			t.Errorf("left behind: %s", line)
		}
	}
	met.Store(1000)
	if _, err := runOnce(t.Context(), destination, plan); err != nil {
		t.Error(err)
	}
	b.wantRun(t, 0)
}

// during is a source that lets something happen after it was opened and before its first byte.
type during struct {
	lines
	happen func()
}

func (d during) Open(ctx context.Context, encoding export.Encoding) (io.ReadCloser, error) {
	d.happen()
	return d.lines.Open(ctx, encoding)
}

// The loser of a race has looked before the winner wrote, so that only the condition on its own write is in its way. Its
// bytes are other ones; it adopts the winner's.
func TestTheLoserOfARaceAdoptsTheWinnersObject(t *testing.T) {
	for _, rows := range []int{10, bigRows} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			b := newBucket(t)
			plan := planOf(t, rows)
			task := destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[0], PlanHash: plan.Hash(), Execution: "winner", Source: shorter{rows}}
			var won export.Receipt
			loser := task
			loser.Execution = "loser"
			loser.Source = during{lines{rows}, func() {
				var err error
				if won, err = b.open(t, jsonSettings).WriteChunk(t.Context(), task); err != nil {
					t.Error(err)
				}
			}}
			lost, err := b.open(t, jsonSettings).WriteChunk(t.Context(), loser)
			won.Adopted = true
			if err != nil || lost != won || lost.Bytes == 0 {
				t.Errorf("the loser has receipt %+v (%v), the winner %+v", lost, err, won)
			}
			for _, line := range b.contents(t) {
				if strings.HasPrefix(line, "unfinished ") {
					t.Errorf("left behind: %s", line)
				}
			}
		})
	}
}

// shorter has the rows of lines in other bytes.
type shorter struct{ rows int }

func (s shorter) Open(context.Context, export.Encoding) (io.ReadCloser, error) {
	line := fmt.Sprintf("{\"padding\":%q}\n", strings.Repeat("y", 990))
	return io.NopCloser(bytes.NewReader(bytes.Repeat([]byte(line), s.rows))), nil
}

// A store that takes no notice of If-None-Match is refused by a check. This one is made of a real store that forgets the
// object just before each conditional write.
func TestAStoreWithoutConditionalWritesIsRefused(t *testing.T) {
	b := newBucket(t)
	forgetful := b.between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Header.Get("If-None-Match") != "" {
			key := strings.TrimPrefix(r.URL.Path, "/"+b.connection.Bucket+"/")
			if _, err := b.client.DeleteObject(r.Context(), &awss3.DeleteObjectInput{Bucket: &b.connection.Bucket, Key: &key}); err != nil {
				panic(err)
			}
		}
		pass.ServeHTTP(w, r)
	})
	var failed []string
	err := forgetful.open(t, jsonSettings).Check(t.Context(), func(step destinations.Step) {
		if step.Error != "" {
			failed = append(failed, step.Name)
		}
	})
	wantError(t, err, export.KindConfig, fmt.Sprintf("write an object again: bucket %q at %s: the store overwrote an object although it was told not to (If-None-Match: *), so two runs of one interval could damage each other: use a store with conditional writes", b.connection.Bucket, forgetful.connection.Endpoint))
	if got := strings.Join(failed, ", "); got != "refuse a second write of it, refuse a second write in parts" {
		t.Errorf("the failed steps are: %s", got)
	}
	if left := b.contents(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
