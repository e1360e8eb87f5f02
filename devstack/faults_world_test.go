//go:build world

package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

func (u *up) pidOf(name string) (pid int, ready bool) {
	content, err := os.ReadFile(u.told("world"))
	if err != nil {
		u.t.Fatal(err)
	}
	var record Record
	if err := json.Unmarshal(content, &record); err != nil {
		u.t.Fatal(err)
	}
	for _, part := range record.Parts {
		if part.Name == name {
			return part.PID, part.Ready
		}
	}
	u.t.Fatalf("world.json has no part %s", name)
	return 0, false
}

func TestAPartThatDiesIsStartedAgainAndKeepsWhatItHad(t *testing.T) {
	u := start(t, []string{"--free", "--parts", "clickhouse,kafka", "--revive"}, "echo begun; read answer; exit 7")
	if _, err := u.query("CREATE TABLE millrace.kept ENGINE = MergeTree ORDER BY n AS SELECT number AS n FROM numbers(1000)"); err != nil {
		t.Fatal(err)
	}
	pids := u.pids()
	for range 3 {
		for _, name := range []string{"clickhouse", "kafka"} {
			before, _ := u.pidOf(name)
			if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			u.await(name+" to answer again", func() bool {
				now, ready := u.pidOf(name)
				pids[name] = now
				return now != before && ready
			})
		}
	}
	if got, err := u.query("SELECT count() FROM millrace.kept"); err != nil || got != "1000" {
		t.Errorf("the table has %q rows, %v; want 1000", got, err)
	}
	if !strings.Contains(u.out.String(), "kafka died, and answers again after") {
		t.Errorf("devstack did not tell:\n%s", u.out)
	}
	u.in.Close()
	if code := u.exitCode(); code != 7 {
		t.Errorf("exit code %d, want COMMAND's 7", code)
	}
	u.wantAllGone(pids)
}

func TestToxiproxyCutsALineAndMendsIt(t *testing.T) {
	u := start(t, []string{"--free", "--parts", "clickhouse", "--toxiproxy"}, "echo begun; read answer; exit 0")
	if own := "http://" + siteOf(t, u.record, ClickHouse{}).Addr("clickhouse-http"); strings.Contains(u.record.Environment["MILLRACE_CLICKHOUSE_HTTP_URL"], own[len("http://"):]) {
		t.Fatalf("COMMAND reaches ClickHouse at %s, past the proxy", own)
	}
	if _, err := u.query("SELECT 1"); err != nil {
		t.Fatal(err)
	}
	enable := func(enabled string) {
		t.Helper()
		url := u.record.Environment["DEVSTACK_TOXIPROXY_URL"] + "/proxies/clickhouse-http"
		answer, err := http.Post(url, "application/json", strings.NewReader(`{"enabled":`+enabled+`}`))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("toxiproxy answers %s", answer.Status)
		}
	}
	enable("false")
	if got, err := u.query("SELECT 1"); err == nil {
		t.Errorf("the line is cut, and ClickHouse answers %q", got)
	}
	enable("true")
	if got, err := u.query("SELECT 1"); err != nil || got != "1" {
		t.Errorf("the line is mended, and ClickHouse answers %q, %v", got, err)
	}
	u.in.Close()
	u.exitCode()
}
