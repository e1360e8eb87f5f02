//go:build world

package promises

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// inEncoding is an export of all teams in one of the encodings.
func inEncoding(name string, encoding export.Encoding, level string) export.Definition {
	definition := hourly(name, 0)
	definition.Team, definition.Proof, definition.ChunkRows = export.Team{All: true}, level, 1000
	definition.Settings = json.RawMessage(fmt.Sprintf(`{"prefix": "events", "format": %q, "compression": %q}`, encoding.Format, encoding.Compression))
	return definition
}

// encodings are all that files are written in, the default first.
var encodings = append([]export.Encoding{byDefault}, slices.DeleteFunc(export.FileEncodings(), func(e export.Encoding) bool { return e == byDefault })...)

var byDefault = export.Encoding{Format: export.FormatParquet, Compression: export.CompressionZstd}

// published runs an export of the first hour, which must be published, and gives its manifest.
func (t *thread) published(definition export.Definition) export.Manifest {
	t.Helper()
	started, err := t.starter.Start(t.Context(), definition, hour(0))
	if err != nil {
		t.Fatal(err)
	}
	if outcome := t.outcome(started.WorkflowID, started.RunID); outcome.Status != export.StatusPublished {
		t.Fatalf("it ended with %+v", outcome)
	}
	manifests := ending(t.objects(), "/manifest.json")
	for _, key := range manifests {
		if manifest := t.manifest(key); manifest.Run.Export == definition.Name && manifest.PlanHash != "" {
			return manifest
		}
	}
	t.Fatalf("it has no manifest among %v", manifests)
	return export.Manifest{}
}

// sourceContent is what the first hour of all teams amounts to.
func (t *thread) sourceContent() export.Content {
	t.Helper()
	content, err := t.events.ChunkContent(t.Context(), eventstore.ChunkQuery{Interval: hour(0), Team: export.Team{All: true}})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Every run carries rows and hash of the source, and unless it is told not to, those of what was read back.
func TestARunIsPublishedWithTheProofThatItHasTheRowsOfItsSource(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	want := t.sourceContent()
	for i, encoding := range encodings {
		manifest := t.published(inEncoding(fmt.Sprintf("read-%d", i), encoding, export.ProofReadback))
		proof := manifest.Proof
		if proof.Level != export.ProofReadback || proof.Source == nil || *proof.Source != want || proof.Stored == nil || *proof.Stored != want {
			t.Errorf("%v: its proof is %+v, the source has %s", encoding, proof, want)
		}
		var sum export.Content
		for _, receipt := range manifest.Receipts {
			content, err := receipt.Content()
			if err != nil || !receipt.ReadBack {
				t.Errorf("%v: %+v, %v", encoding, receipt, err)
			}
			sum = sum.Plus(content)
		}
		if sum != want || len(manifest.Receipts) != 3 {
			t.Errorf("%v: %d receipts have %s together, the source has %s", encoding, len(manifest.Receipts), sum, want)
		}
	}
	manifest := t.published(inEncoding("stream", encodings[0], export.ProofStream))
	if proof := manifest.Proof; proof.Level != export.ProofStream || proof.Source == nil || *proof.Source != want || proof.Stored != nil {
		t.Errorf("with stream its proof is %+v, the source has %s", proof, want)
	}
}

// loadThreeTeams loads rows of three teams into the first hour, which make three chunks of exports whose chunk_rows is the
// least there is.
func (t *thread) loadThreeTeams() {
	t.Helper()
	var blocks []eventstore.Block
	for i := range 3 {
		made, _ := block(hour(0).Start.Add(time.Duration(i)*time.Minute), int64(i+1), 900, fmt.Sprintf(`{"team": %d, "text": "Grüße \"\\ \u0000 🌊"}`, i+1))
		blocks = append(blocks, made)
	}
	eventstoretest.LoadPast(t.T, t.events, blocks...)
}

// ClickHouse reads files back without ever being told a key of the bucket, a signed address, or where the bucket is: nothing
// of it stands in its log of queries, with the texts of errors, whether the proof holds or not.
func TestNothingOfTheBucketReachesClickHouse(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	t.published(inEncoding("whole", encodings[0], export.ProofReadback))
	t.tamper.do(nil, nil, damaged)
	rotten := tampered("rotten", export.ProofReadback)
	rotten.Settings = inEncoding("rotten", export.Encoding{Format: export.FormatJSONEachRow, Compression: export.CompressionNone}, "").Settings
	t.run(rotten, hour(0))

	secret, endpoint := testworld.Env(tt, "AWS_SECRET_ACCESS_KEY"), testworld.Env(tt, "MILLRACE_S3_ENDPOINT")
	eventstoretest.Exec(tt, "SYSTEM FLUSH LOGS")
	var read int
	for _, entry := range t.queryLog() {
		if strings.Contains(entry, "FROM input(") {
			read++
		}
		for what, canary := range map[string]string{
			"the secret": secret, "a signature": "X-Amz", "the bucket": t.bucket, "the endpoint": strings.TrimPrefix(endpoint, "http://"),
			"the way to it": strings.TrimPrefix(t.tamper.address, "http://"),
		} {
			if strings.Contains(entry, canary) {
				t.Errorf("%s stands in ClickHouse's log: %s", what, entry)
			}
		}
	}
	if read < 8 { // begin and end of each of at least four files
		t.Errorf("%d entries of the log read files, so this test shows nothing", read)
	}
}

// queryLog is the log of all queries on the test's database, entry by entry with every column.
func (t *thread) queryLog() []string {
	t.Helper()
	address := testworld.Env(t.T, "MILLRACE_CLICKHOUSE_HTTP_URL")
	query := "SELECT * FROM system.query_log WHERE current_database = '" + t.events.Database() + "' FORMAT JSONEachRow"
	answer, err := http.Post(address, "text/plain", strings.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", answer.StatusCode, err, text)
	}
	return strings.Split(string(text), "\n")
}
