package crash

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/export"
)

// StoreRelay stands between workers and the object store, and answers in the store's place, loses answers or holds them
// up, while a trouble is on.
type StoreRelay struct {
	// Address is the relay's, as http://host:port.
	Address string

	server  *http.Server
	trouble atomic.Pointer[storeTrouble]
	met     atomic.Int64
	old     sync.Map // ids of uploads that the store says are old
	open    sync.WaitGroup
}

// storeTrouble is what happens to the requests that it is for.
type storeTrouble struct {
	meets func(*http.Request) bool
	// before is done instead of the request, unless it is nil; it returns true to let the request through all the same.
	before func(http.ResponseWriter, *http.Request) bool
	// lose drops the connection when the store has answered: the effect has happened, and nobody hears of it.
	lose bool
	// twist changes the store's answer.
	twist func(*http.Response)
}

// StartStoreRelay relays to a store until Close.
func StartStoreRelay(endpoint string) (*StoreRelay, error) {
	target, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &StoreRelay{Address: "http://" + listener.Addr().String()}
	proxy := &httputil.ReverseProxy{
		// The host that the client signed for goes along, so the store takes the signature.
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
		},
		ModifyResponse: func(answer *http.Response) error {
			if request := answer.Request; request.Method == http.MethodGet && request.URL.Query().Has("uploads") {
				if err := r.ageListed(answer); err != nil {
					return err
				}
			}
			trouble := r.trouble.Load()
			if trouble == nil || !trouble.meets(answer.Request) {
				return nil
			}
			if trouble.lose {
				r.met.Add(1)
				return errLost
			}
			if trouble.twist != nil {
				r.met.Add(1)
				trouble.twist(answer)
			}
			return nil
		},
		// A store that is away, or an answer that is lost: the client sees the end of its connection.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	r.server = &http.Server{ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if trouble := r.trouble.Load(); trouble != nil && trouble.before != nil && trouble.meets(request) {
			r.met.Add(1)
			if !trouble.before(w, request) {
				return
			}
		}
		proxy.ServeHTTP(w, request)
	})}
	r.open.Go(func() { _ = r.server.Serve(listener) })
	return r, nil
}

var errLost = &url.Error{Op: "relay", Err: io.ErrUnexpectedEOF}

// Close ends the relay and all its connections.
func (r *StoreRelay) Close() {
	_ = r.server.Close()
	r.open.Wait()
}

// age has the store say of an upload that it began long ago.
func (r *StoreRelay) age(upload string) { r.old.Store(upload, true) }

var (
	uploadID  = regexp.MustCompile(`<UploadId>([^<]*)</UploadId>`)
	initiated = regexp.MustCompile(`<Initiated>[^<]*</Initiated>`)
)

// ageListed changes when the old ones of a list of uploads were begun.
func (r *StoreRelay) ageListed(answer *http.Response) error {
	content, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil {
		return err
	}
	const end = "</Upload>"
	entries := strings.Split(string(content), end)
	for i, entry := range entries {
		id := uploadID.FindStringSubmatch(entry)
		if id == nil {
			continue
		}
		if _, is := r.old.Load(id[1]); is {
			began := time.Now().Add(-2 * time.Duration(export.DefaultGiveUpAfter)).UTC().Format("2006-01-02T15:04:05.000Z")
			entries[i] = initiated.ReplaceAllString(entry, "<Initiated>"+began+"</Initiated>")
		}
	}
	text := strings.Join(entries, end)
	answer.Body, answer.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	answer.Header.Set("Content-Length", strconv.Itoa(len(text)))
	return nil
}

// be puts a trouble on; nil takes it away. The answer counts the requests that the one before has met.
func (r *StoreRelay) be(trouble *storeTrouble) (met int64) {
	r.trouble.Store(trouble)
	return r.met.Swap(0)
}

// refuse answers as a store does that is in trouble.
func refuse(status int, code string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, request *http.Request) bool {
		_, _ = io.Copy(io.Discard, request.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>`+code+`</Code><Message>by the crash harness</Message></Error>`)
		return false
	}
}

// cutOff ends the connection before the store hears of the request.
func cutOff(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

// holdUp lets requests through late.
func holdUp(long time.Duration) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, request *http.Request) bool {
		wait(request.Context(), long)
		return request.Context().Err() == nil
	}
}

// failInside makes an OK to a completion one that carries an error, as S3 may answer: its status line is sent long before
// the outcome is known.
func failInside(answer *http.Response) {
	const text = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>InternalError</Code><Message>by the crash harness</Message></Error>`
	_ = answer.Body.Close()
	answer.Body, answer.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	answer.Header.Del("Content-Length")
	answer.Header.Set("Content-Type", "application/xml")
}

// The requests that troubles are for.
func anyRequest(*http.Request) bool { return true }
func completions(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}
func uploadedParts(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}
func writes(r *http.Request) bool { return r.Method == http.MethodPut }
func marks(r *http.Request) bool {
	return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".json")
}
