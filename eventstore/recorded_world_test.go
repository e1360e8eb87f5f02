//go:build world

package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/recorded"
	"github.com/millrace/millrace/internal/testworld"
)

// number of bytes or rows in ClickHouse's words, which change from run to run.
var amounts = regexp.MustCompile(`[0-9.]+ ([KMG]i)?B|\(version [^)]*\)|elapsed [0-9.]+ ms|[0-9a-f]{8}-[0-9a-f-]{27}`)

// Each situation is brought about on a real server, whose answers are in testdata/answers. What replicas and a full disk
// say cannot be had here: docs/runbooks marks those codes as taken from the documentation.
func TestRecordedAnswersAreThoseOfARealServer(t *testing.T) {
	store := eventstoretest.New(t)
	got := recorded.Server{Name: "ClickHouse"}
	if err := store.Conn().QueryRow(t.Context(), "SELECT 'ClickHouse ' || version()").Scan(&got.Name); err != nil {
		t.Fatal(err)
	}
	eventstoretest.Exec(t, "CREATE TABLE `"+store.Database()+"`.parts (n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS parts_to_throw_insert = 1, parts_to_delay_insert = 0, max_avg_part_size_for_too_many_parts = 1000000000")
	note := func(situation string, err error) {
		t.Helper()
		var exception *eventstore.Exception
		if !errors.As(err, &exception) {
			t.Errorf("%s: the server refuses nothing (%v)", situation, err)
			return
		}
		message, _, _ := strings.Cut(exception.Message, "\n")
		message, _, _ = strings.Cut(message, " (attempt to allocate") // what follows is of this moment
		message = strings.ReplaceAll(amounts.ReplaceAllString(message, "…"), store.Database(), "DATABASE")
		if len(message) > 160 {
			message = message[:160] + "…"
		}
		got.Answers = append(got.Answers, recorded.Answer{
			Situation: situation, Code: fmt.Sprint(exception.Code), Message: strings.ToValidUTF8(message, ""), Kind: export.KindOf(eventstore.Classify(err)),
		})
	}
	for _, c := range []struct{ situation, query string }{
		{"a table that is not there", "SELECT * FROM nowhere"},
		{"a database that is not there", "SELECT * FROM nowhere.events"},
		{"a column that is not there", "SELECT nowhere FROM events"},
		{"a statement that is none", "SELECT 1 FROM FROM"},
		{"a function that there is not", "SELECT nowhere(1)"},
		{"an argument of another type", "SELECT toStartOfHour('x')"},
		{"an argument too few", "SELECT toStartOfHour()"},
		{"a text that is no number", "SELECT toUInt8('x')"},
		{"a format that there is not", "SELECT 1 FORMAT Nowhere"},
		{"a setting that there is not", "SELECT 1 SETTINGS nowhere = 1"},
		{"more rows than the profile allows", "SELECT number FROM numbers(1000000) SETTINGS max_rows_to_read = 10"},
		{"more bytes than the profile allows", "SELECT number FROM numbers(1000000) SETTINGS max_bytes_to_read = 10"},
		{"more memory than the query may have", "SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 10000000"},
		{"a query that took too long", "SELECT sleepEachRow(0.1) FROM numbers(30) SETTINGS max_execution_time = 1, max_block_size = 1"},
		{"a profile that is read-only", "CREATE TABLE t (n UInt8) ENGINE = Memory SETTINGS readonly = 1"},
		{"too many parts", "INSERT INTO parts SELECT 1"},
		{"too many parts, the second time", "INSERT INTO parts SELECT 2"},
		{"arrival times that are too old", "INSERT INTO events (team_id, inserted_at) SELECT 1, toDateTime64('2020-01-01 00:00:00', 6, 'UTC')"},
	} {
		err := store.Command(t.Context(), c.query)
		if c.situation == "too many parts" && err == nil {
			continue // the first part goes in, the second one is too many
		}
		note(c.situation, err)
	}
	address, err := url.Parse(testworld.Env(t, "MILLRACE_CLICKHOUSE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	note("a user that is not known", asUser(t, "stranger", "hunter2", "SELECT 1"))
	note("a wrong password", asUser(t, address.User.Username(), "hunter2", "SELECT 1"))

	// A query under an id that is running, and the kill of it.
	id := uuid.NewString()
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const long = "SELECT sum(cityHash64(number)) FROM numbers(1000000000000)"
	go func() { ended <- underID(ctx, t, long, id) }()
	testworld.Eventually(t, 30*time.Second, func() error {
		if running(t, store, id) == 0 {
			return errors.New("it does not run yet")
		}
		return nil
	})
	note("an id that is in use", underID(ctx, t, "SELECT 1", id))
	eventstoretest.Exec(t, "KILL QUERY WHERE query_id = '"+id+"' SYNC")
	note("a query that was killed", <-ended)
	recorded.Hold(t, "clickhouse", got)
}

// asUser asks over HTTP, for the engine of devstack does not survive a refusal of the native protocol.
func asUser(t *testing.T, user, password, query string) error {
	t.Helper()
	address, err := url.Parse(testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL"))
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(user, password)
	store, err := eventstore.Open(t.Context(), eventstore.Config{URL: "clickhouse://127.0.0.1:1/system", HTTPURL: address.String()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	return store.Command(t.Context(), query)
}

// underID runs a query over HTTP under an id of ours.
func underID(ctx context.Context, t *testing.T, query, id string) error {
	address := testworld.Env(t, "MILLRACE_CLICKHOUSE_HTTP_URL") + "/?wait_end_of_query=1&query_id=" + id
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(query))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode == http.StatusOK {
		return err
	}
	var code int32
	if _, err := fmt.Sscan(response.Header.Get("X-ClickHouse-Exception-Code"), &code); err != nil {
		return err
	}
	return eventstore.NewException(code, string(text))
}
