//go:build world

package promises

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
)

// Rows of one interval that differ twentyfold in size: what the first files teach does not yet fit the largest, so the run is
// planned anew a few times, each time finer, and then no file is larger than it may be, and every row is there.
func TestNoFileOfARunIsLargerThanItMayBe(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	var blocks []eventstore.Block
	for i := range 30 {
		rows, properties := 40, `{}`
		if i >= 10 {
			rows, properties = 2, fmt.Sprintf(`{"wide": %q}`, strings.Repeat("x", 5000))
		}
		made, _ := block(hour(0).Start.Add(time.Duration(i)*time.Minute), 1, rows, properties)
		blocks = append(blocks, made)
	}
	alone, _ := block(hour(1).Start, 1, 1, fmt.Sprintf(`{"wide": %q}`, strings.Repeat("x", 100_000)))
	blocks = append(blocks, alone)
	const rows, limit = 10*40 + 20*2, 64 << 10
	eventstoretest.LoadPast(tt, t.events, blocks...)
	t.work()
	definition := hourly("bounded", 1)
	definition.Settings = json.RawMessage(`{"prefix": "events", "format": "jsoneachrow", "compression": "none", "max_file_size": "64KiB"}`)

	estimate, err := t.starter.Estimate(t.Context(), estimateOf(definition, hour(0), false))
	if err != nil || estimate.Rows != rows || estimate.Files < 2 || len(estimate.Notes) != 1 || !strings.Contains(estimate.Notes[0], "larger than the destination takes") {
		t.Errorf("it is estimated as %+v, %v", estimate, err)
	}
	started := t.run(definition, hour(0))
	outcome := t.outcome(started.WorkflowID, started.RunID)
	if outcome.Status != export.StatusPublished || outcome.Rows != rows || outcome.Run.Revision < 3 {
		t.Errorf("it ended with %+v", outcome)
	}
	t.history("chunks cut finer", started)
	manifest := t.manifest(t.markKey("bounded", outcome.Run.Revision))
	for _, receipt := range manifest.Receipts {
		if receipt.Bytes > limit {
			t.Errorf("%s has %d bytes", receipt.Location, receipt.Bytes)
		}
	}
	var before uint64
	for revision := 1; revision < outcome.Run.Revision; revision++ {
		closed := t.closed("bounded", revision)
		t.Logf("revision %d is closed, %d rows would fit: %s", revision, closed.ChunkRows, closed.Reason)
		if closed.ChunkRows == 0 || before != 0 && closed.ChunkRows >= before {
			t.Errorf("revision %d says that %d rows fit, the one before it %d", revision, closed.ChunkRows, before)
		}
		before = closed.ChunkRows
	}

	// Whoever comes to a closed revision plans the next by what its mark has learned, as the one who closed it would.
	joined := definition
	joined.Name = "joined"
	mark := t.closed("bounded", 1)
	mark.Run.Export, mark.ChunkRows = "joined", before
	text, err := json.Marshal(mark)
	if err != nil {
		t.Fatal(err)
	}
	t.put(t.markKey("joined", 1), text, nil)
	started = t.run(joined, hour(0))
	if outcome := t.outcome(started.WorkflowID, started.RunID); outcome.Status != export.StatusPublished || outcome.Run.Revision != 2 || outcome.Rows != rows {
		t.Errorf("who came to a closed revision ended with %+v", outcome)
	}
	if got, want := len(t.manifest(t.markKey("joined", 2)).Receipts), len(manifest.Receipts); got != want {
		t.Errorf("he planned %d chunks, and the other, by the same number, %d", got, want)
	}

	// Without a bound that a row fits into there is nothing to cut: the run ends, and says what to change.
	narrow := definition
	narrow.Name = "narrow"
	wide := t.run(narrow, hour(1))
	var failed *temporal.ApplicationError
	err = t.Client.GetWorkflow(t.Context(), wide.WorkflowID, wide.RunID).Get(t.Context(), nil)
	if !errors.As(err, &failed) || failed.Type() != string(export.KindConfig) || !strings.HasSuffix(failed.Message(), "make max_file_size larger") {
		t.Errorf("it ended with %v", err)
	}
}
