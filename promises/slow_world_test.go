//go:build world

package promises

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/testworld"
)

// slowWay is a way to the store on which every part of an upload takes some time, so that a chunk has a middle.
type slowWay struct {
	address string
	// each is how long a part is held up, in nanoseconds.
	each atomic.Int64
	// looks makes it hold up every request that looks at a file, until its client gives it up; held counts them.
	looks atomic.Bool
	held  atomic.Int64
	// away makes it break off every request, as a store does that is down behind a proxy; asked counts what comes meanwhile.
	away  atomic.Bool
	asked atomic.Int64
	// parts counts the parts that came.
	parts atomic.Int64
	// goOn is closed to let those go on that are held up.
	mu   sync.Mutex
	goOn chan struct{}
}

func newSlowWay(t *testing.T, endpoint string) *slowWay {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	way := &slowWay{goOn: make(chan struct{})}
	// The host that the client signed for goes along, so the store takes the signature.
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if way.away.Load() {
			way.asked.Add(1)
			panic(http.ErrAbortHandler)
		}
		if r.Method == http.MethodHead && way.looks.Load() {
			way.held.Add(1)
			<-r.Context().Done()
			way.held.Add(-1)
			return
		}
		if r.Method == http.MethodPut && r.URL.Query().Has("partNumber") {
			way.parts.Add(1)
			held := time.NewTimer(time.Duration(way.each.Load()))
			defer held.Stop()
			select {
			case <-held.C:
			case <-way.changed(): // the server does not see that a client has gone before it has read the body
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		way.be(0)
		server.CloseClientConnections() // clients keep some for later
		server.Close()
	})
	way.address = server.URL
	return way
}

func (w *slowWay) changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.goOn
}

// be makes every part from now on take so long, lets those go on that are held up, and counts anew.
func (w *slowWay) be(each time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.goOn)
	w.goOn = make(chan struct{})
	w.each.Store(int64(each))
	w.parts.Store(0)
}

// awaitParts waits until so many parts have come.
func (w *slowWay) awaitParts(t *testing.T, wanted int64) {
	t.Helper()
	testworld.Eventually(t, patience, func() error {
		if came := w.parts.Load(); came < wanted {
			return fmt.Errorf("%d parts have come", came)
		}
		return nil
	})
}
