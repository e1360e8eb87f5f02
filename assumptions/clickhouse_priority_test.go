//go:build world

package assumptions

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/testworld"
)

// A query with a higher number in the setting priority waits while one with a lower number runs. One without any, as inserts
// and other people's queries are, does neither. So what backfills read waits for what live runs read, and nothing else does.
func TestAQueryOfLowPriorityWaitsForOneOfHighPriority(t *testing.T) {
	d := newDatabase(t)
	ended := make(chan string, 3)
	ask := func(name, priority, query string) {
		address := testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL") + "/?" + url.Values{"priority": {priority}}.Encode()
		answer, err := http.Post(address, "text/plain", strings.NewReader(query))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s: %s: %s", name, answer.Status, body)
			}
		}
		ended <- name
	}
	const comment = "priority of the test"
	go ask("high", "1", "SELECT sleepEachRow(0.5) FROM numbers(8) SETTINGS max_block_size = 1, log_comment = '"+comment+"' FORMAT Null")
	testworld.Eventually(t, time.Minute, func() error {
		if d.count(t, "SELECT count() FROM system.processes WHERE Settings['log_comment'] = '"+comment+"' AND is_initial_query AND query NOT LIKE '%system.processes%'") == 0 {
			return errors.New("it has not begun")
		}
		return nil
	})
	const work = "SELECT sum(number) FROM numbers_mt(20000000) FORMAT Null"
	go ask("low", "2", work)
	go ask("none", "0", work)
	var order []string
	for range 3 {
		order = append(order, <-ended)
	}
	if got := strings.Join(order, ", "); got != "none, high, low" {
		t.Errorf("they ended in this order: %s", got)
	}
}
