//go:build world

package assumptions

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/millrace/millrace/internal/testworld"
)

// A server that is told to look for its client notices within a statement that nobody is there any more, and ends it. One that
// is not told runs it to its end. It can be told within a transaction, for that alone.
func TestPostgresNoticesWithinAStatementThatItsClientIsGone(t *testing.T) {
	p := newSchema(t)
	runs := func(pid uint32) (running bool) {
		t.Helper()
		if err := p.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND query LIKE '%pg_sleep%' AND state = 'active')", pid).Scan(&running); err != nil {
			t.Fatal(err)
		}
		return running
	}
	var pids []uint32
	for _, interval := range []string{"0", "100ms"} {
		client, err := p.connect(t).PgConn().Hijack() // the client sends a cancel when it loses its connection; a killed one does not
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, client.PID)
		client.Frontend.SendQuery(&pgproto3.Query{String: "BEGIN; SELECT set_config('client_connection_check_interval', '" + interval + "', true); SELECT pg_sleep(600)"})
		if err := client.Frontend.Flush(); err != nil {
			t.Fatal(err)
		}
		testworld.Eventually(t, 10*time.Second, func() error {
			if !runs(client.PID) {
				return fmt.Errorf("the statement has not begun")
			}
			return nil
		})
		if err := client.Conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	testworld.Eventually(t, 10*time.Second, func() error {
		if runs(pids[1]) {
			return fmt.Errorf("the statement runs on")
		}
		return nil
	})
	if !runs(pids[0]) {
		t.Error("it notices without being told: nobody needs to tell it")
	}
	p.do(t, fmt.Sprintf("SELECT pg_terminate_backend(%d, 10000)", pids[0]))
}
