//go:build world

package promises

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// tamperedWay is a way to the store on which a test does what nobody should do to files.
type tamperedWay struct {
	address string
	mu      sync.Mutex
	// looked is called with the key of a file that a chunk is about to be written to, the first time it is looked for.
	looked func(key string)
	// stored is called with the key of a file when the store has it, before who wrote it hears of that.
	stored func(key string)
	// read may change the bytes of a file on their way back.
	read func(key string, content []byte) []byte
	seen map[string]bool
}

func newTamperedWay(t *testing.T, endpoint string) *tamperedWay {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	way := &tamperedWay{seen: map[string]bool{}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		ModifyResponse: way.answered,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key := fileKey(r); key != "" && r.Method == http.MethodHead {
			if looked := way.first(key); looked != nil {
				looked(key)
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	way.address = server.URL
	return way
}

// fileKey is the key of a data file that a request is about, or "".
func fileKey(r *http.Request) string {
	_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if strings.Contains(key, "/_millrace/") || !strings.HasPrefix(key, "events/") {
		return ""
	}
	return key
}

// first gives looked, once for each key.
func (w *tamperedWay) first(key string) func(string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[key] {
		return nil
	}
	w.seen[key] = true
	return w.looked
}

func (w *tamperedWay) answered(response *http.Response) error {
	key := fileKey(response.Request)
	if key == "" || response.StatusCode != http.StatusOK {
		return nil
	}
	w.mu.Lock()
	stored, read := w.stored, w.read
	w.mu.Unlock()
	if stored != nil && response.Request.Method == http.MethodPut {
		stored(key)
	}
	if read != nil && response.Request.Method == http.MethodGet {
		content, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		response.Body.Close()
		response.Body = io.NopCloser(bytes.NewReader(read(key, content)))
	}
	return nil
}

// do sets what is done from now on.
func (w *tamperedWay) do(looked, stored func(string), read func(string, []byte) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked, w.stored, w.read = looked, stored, read
	w.seen = map[string]bool{}
}

// teamRows is the query of the rows of one of the three teams, which are a chunk each.
func teamRows(columns, team string) string {
	return "SELECT " + columns + " FROM events WHERE team_id = " + team
}

// zombies' files: other rows than the source's, by a query for the file of a team. Whoever finds them under his plan
// must not take them for his own.
var zombieFiles = map[string]func(team string) string{
	"a row deleted": func(team string) string { return teamRows(eventstore.SelectEvents(), team+" AND distinct_id != '7'") },
	"a row doubled": func(team string) string {
		return teamRows(eventstore.SelectEvents(), team) + " UNION ALL " + teamRows(eventstore.SelectEvents(), team+" AND distinct_id = '7'")
	},
	"a row deleted and another doubled": func(team string) string {
		return teamRows(eventstore.SelectEvents(), team+" AND distinct_id != '8'") + " UNION ALL " + teamRows(eventstore.SelectEvents(), team+" AND distinct_id = '7'")
	},
	"a row changed": func(team string) string {
		return "SELECT team_id, uuid, if(distinct_id = '7', 'other', event) AS event, distinct_id, timestamp, properties, received_at, inserted_at FROM (" + teamRows("*", team) + ")"
	},
	"two columns swapped": func(team string) string {
		return "SELECT team_id, uuid, d AS event, e AS distinct_id, timestamp, properties, received_at, inserted_at FROM (" +
			teamRows("team_id, uuid, event AS e, distinct_id AS d, timestamp, properties, received_at, inserted_at", team) + ")"
	},
	"two chunks exchanged": func(team string) string {
		return teamRows(eventstore.SelectEvents(), map[string]string{"1": "2", "2": "1", "3": "3"}[team])
	},
	"two rows' values exchanged between chunks": func(team string) string {
		other := map[string]string{"1": "2", "2": "1", "3": "3"}[team]
		return teamRows(eventstore.SelectEvents(), team+" AND distinct_id != '7'") + " UNION ALL " + teamRows(eventstore.SelectEvents(), other+" AND distinct_id = '7'")
	},
}

// zombie puts files of other rows under the first revision's keys, each the moment before the chunk is written, as a
// zombie would that wrote them.
func (t *thread) zombie(rows func(team string) string) func(key string) {
	return func(key string) {
		if !strings.Contains(key, "/r0001-") {
			return
		}
		chunk := strings.TrimSuffix(key[strings.LastIndex(key, "-")+1:], ".parquet")
		team := string('1' + chunk[len(chunk)-1] - '0')
		var plan export.Plan
		for _, mark := range ending(t.objects(), "/r0001/plan.json") {
			if strings.Contains(mark, strings.Split(key, "/")[1]) {
				if err := json.Unmarshal(t.read(mark), &plan); err != nil {
					t.Error(err)
				}
			}
		}
		t.put(key, t.encode(rows(team)), map[string]string{
			"millrace-plan": plan.Hash(), "millrace-chunk": strings.TrimLeft(chunk[:4], "0") + chunk[4:],
			"millrace-run": fmt.Sprintf("%s/%s/r0001", plan.Run.Export, plan.Run.Interval.Key()),
		})
	}
}

// encode has ClickHouse make a Parquet file of a query.
func (t *thread) encode(query string) []byte { return t.query(query + " FORMAT Parquet") }

// query asks ClickHouse by HTTP. It may be called from another goroutine.
func (t *thread) query(query string) []byte {
	address := testworld.Env(t.T, "MILLRACE_CLICKHOUSE_HTTP_URL") + "/?database=" + t.events.Database()
	answer, err := http.Post(address, "text/plain", strings.NewReader(query))
	if err != nil {
		t.Error(err)
		return nil
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%s: status %d, %v, %s", query, answer.StatusCode, err, content)
	}
	return content
}

// put writes an object straight into the bucket.
func (t *thread) put(key string, content []byte, metadata map[string]string) {
	if _, err := t.s3.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &t.bucket, Key: &key, Body: bytes.NewReader(content), Metadata: metadata, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme,
	}); err != nil {
		t.Error(err)
	}
}

// tampered is an export that goes over the tampered way, in three chunks, as Parquet.
func tampered(name, level string) export.Definition {
	definition := inEncoding(name, encodings[0], level)
	definition.Connection = "tampered"
	return definition
}

var levels = []string{export.ProofReadback, export.ProofStream}

// What somebody left under our plan is taken for ours only when it holds the source's rows, whatever the level of proof.
// Otherwise nobody ever reads it: the revision is closed, and the next one has the rows.
func TestOtherRowsUnderOurPlanAreNeverPublished(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	want, n := t.sourceContent(), 0
	for _, what := range slices.Sorted(maps.Keys(zombieFiles)) {
		for _, level := range levels {
			n++
			name := fmt.Sprintf("zombie-%d", n)
			t.Run(what+" "+level, func(tt *testing.T) {
				t := t.in(tt)
				t.tamper.do(t.zombie(zombieFiles[what]), nil, nil)
				t.closedAndNext(tampered(name, level), want)
			})
		}
	}
	t.Run("the right rows", func(tt *testing.T) {
		t := t.in(tt)
		t.tamper.do(t.zombie(func(team string) string { return teamRows(eventstore.SelectEvents(), team) }), nil, nil)
		manifest := t.published(tampered("zombie-right", export.ProofStream))
		if manifest.Run.Revision != 1 || *manifest.Proof.Source != want {
			t.Errorf("%s has %s", manifest.Run, manifest.Proof.Source)
		}
		for _, receipt := range manifest.Receipts {
			if !receipt.ReadBack {
				t.Errorf("%+v was adopted and not read back", receipt)
			}
		}
	})
}

// flipped is a file with one bit changed.
func flipped(content []byte) []byte {
	changed := slices.Clone(content)
	changed[len(changed)/3] ^= 1
	return changed
}

// damaged is every file as a store gives it back that has bad disks.
func damaged(_ string, content []byte) []byte { return flipped(content) }

// closedAndNext runs an export whose first revision cannot be published, and whose second has all rows.
func (t *thread) closedAndNext(definition export.Definition, want export.Content) export.Closed {
	t.Helper()
	started, err := t.starter.Start(t.Context(), definition, hour(0))
	if err != nil {
		t.Fatal(err)
	}
	outcome := t.outcome(started.WorkflowID, started.RunID)
	if outcome.Status != export.StatusPublished || outcome.Run.Revision != 2 {
		t.Fatalf("it ended with %+v", outcome)
	}
	closed, manifest := t.closed(definition.Name, 1), t.manifest(t.markKey(definition.Name, 2))
	t.Logf("revision 1 is closed: %s", closed.Reason)
	if closed.By.RunID != started.RunID || closed.Reason == "" {
		t.Errorf("revision 1 is closed by %+v", closed)
	}
	if manifest.Proof.Source == nil || *manifest.Proof.Source != want || manifest.Proof.Level != definition.Proof {
		t.Errorf("revision 2 has proof %+v, the source has %s", manifest.Proof, want)
	}
	rows, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: definition.Name})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Status != eventstore.StatusPublished || rows[1].Status != eventstore.StatusClosed || rows[1].Error != closed.Reason {
		t.Errorf("the ledger has %+v", rows)
	}
	return closed
}

// markKey is the key of a revision's commit mark, of the first hour.
func (t *thread) markKey(name string, revision int) string {
	return fmt.Sprintf("events/_millrace/%s/%s/r%04d/manifest.json", name, hour(0).Key(), revision)
}

func (t *thread) closed(name string, revision int) export.Closed {
	t.Helper()
	_, closed, err := export.ReadCommitMark(t.read(t.markKey(name, revision)))
	if err != nil || closed == nil {
		t.Fatalf("revision %d of %s is not closed (%v)", revision, name, err)
	}
	return *closed
}

// What is changed after it was written is noticed before anybody may read it.
func TestFilesThatChangeBeforeTheyArePublishedAreNoticed(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	want := t.sourceContent()
	for i, level := range levels {
		t.Run("a byte flipped "+level, func(tt *testing.T) {
			t := t.in(tt)
			t.tamper.do(nil, func(key string) {
				if strings.Contains(key, "/r0001-00001.") {
					head, err := t.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &t.bucket, Key: &key})
					if err != nil {
						t.Error(err)
						return
					}
					t.put(key, flipped(t.read(key)), head.Metadata)
				}
			}, nil)
			t.closedAndNext(tampered(fmt.Sprintf("flipped-%d", i), level), want)
		})
		t.Run("a file removed "+level, func(tt *testing.T) {
			t := t.in(tt)
			t.tamper.do(nil, func(key string) {
				if strings.Contains(key, "/r0001-00002.") {
					if _, err := t.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &t.bucket, Key: aws.String(key)}); err != nil {
						t.Error(err)
					}
				}
			}, nil)
			t.closedAndNext(tampered(fmt.Sprintf("removed-%d", i), level), want)
		})
	}
	// A store that damages what it holds without knowing is noticed by reading alone.
	t.Run("a byte flipped below the store", func(tt *testing.T) {
		t := t.in(tt)
		t.tamper.do(nil, nil, func(key string, content []byte) []byte {
			if strings.Contains(key, "/r0001-00000.") {
				return flipped(content)
			}
			return content
		})
		t.closedAndNext(tampered("rotten", export.ProofReadback), want)
	})
}

// When the next revision fails as well, the run does: nothing is published, and both revisions are closed, so that the
// next run does not adopt what lies there.
func TestARunWhoseSecondProofFailsTooFailsAndPublishesNothing(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	t.tamper.do(nil, nil, damaged)
	definition := tampered("rotten", export.ProofReadback)
	started, err := t.starter.Start(t.Context(), definition, hour(0))
	if err != nil {
		t.Fatal(err)
	}
	err = t.Client.GetWorkflow(t.Context(), started.WorkflowID, started.RunID).Get(t.Context(), nil)
	var failed *temporal.ApplicationError
	if !errors.As(err, &failed) || failed.Type() != string(export.KindData) {
		t.Fatalf("it ended with %v, want the kind %s", err, export.KindData)
	}
	for _, revision := range []int{1, 2} {
		if closed := t.closed(definition.Name, revision); closed.By.RunID != started.RunID {
			t.Errorf("revision %d is closed by %+v", revision, closed.By)
		}
	}
	rows, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: definition.Name})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || rows[0].Status != eventstore.StatusFailed || rows[0].ErrorKind != export.KindData || rows[0].Run.Revision != 2 {
		t.Errorf("the ledger has %+v", rows)
	}
	t.tamper.do(nil, nil, nil)
	if manifest := t.published(definition); manifest.Run.Revision != 3 {
		t.Errorf("the next run published %s", manifest.Run)
	}
}

// Rows of a closed interval never change. Should they all the same, between plan and chunk, the plan is given up.
func TestASourceThatChangesAfterThePlanIsPlannedAgain(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	var once sync.Once
	t.tamper.do(func(string) {
		once.Do(func() {
			eventstoretest.Exec(t.T, "ALTER TABLE `"+t.events.Database()+"`.events DELETE WHERE distinct_id = '7' SETTINGS mutations_sync = 1")
		})
	}, nil, nil)
	definition := tampered("changing", export.ProofReadback)
	started, err := t.starter.Start(t.Context(), definition, hour(0))
	if err != nil {
		t.Fatal(err)
	}
	outcome := t.outcome(started.WorkflowID, started.RunID)
	if want := t.sourceContent(); outcome.Status != export.StatusPublished || outcome.Run.Revision != 2 || outcome.Rows != want.Rows {
		t.Errorf("it ended with %+v, the source has %s", outcome, want)
	}
}
