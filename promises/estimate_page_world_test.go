//go:build world

package promises

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/internal/config"
)

// TestThePageOnEstimates runs the commands of docs/estimates.md, and holds what they print against the blocks that follow.
func TestThePageOnEstimates(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	where := eventstoretest.Config(tt)
	store, err := eventstore.Open(tt.Context(), where)
	if err != nil {
		tt.Fatal(err)
	}
	tt.Cleanup(func() { _ = store.Close() })
	if _, err := store.Setup(tt.Context()); err != nil {
		tt.Fatal(err)
	}
	t.events = store
	t.load(24, 1)
	t.promise(hour(24).End)
	t.work()
	environment := fmt.Sprintf("export %s='%s' %s='%s' MILLRACE_S3_BUCKET='%s'\n", config.VarClickHouseURL, where.URL, config.VarClickHouseHTTPURL, where.HTTPURL, t.bucket)
	binary, commands := t.build(), 0
	page := blocks(tt, "../docs/estimates.md")
	for i, block := range page {
		if block.language != "sh" {
			continue
		}
		commands++
		sees := ""
		if i+1 < len(page) && page[i+1].language == "text" {
			sees = page[i+1].text
		}
		output, err := t.shell(environment + strings.ReplaceAll(block.text, "bin/millrace", binary))
		if missing := missingLine(output, sees); err != nil || missing != "" {
			tt.Fatalf("docs/estimates.md:%d: %v; the page says that one sees\n%s\nbut one sees\n%s", block.line, err, missing, output)
		}
		tt.Logf("%s%s", block.text, output)
	}
	if commands != 5 {
		tt.Errorf("the page has %d commands", commands)
	}
}
