package main

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func someResult() *Result {
	end := time.Date(2026, 11, 23, 18, 1, 0, 0, time.UTC)
	totals := Totals{Rows: 200_006, Delay: 1_809_922, Distance: 145_843_075}
	result := &Result{
		World: World{TemporalUI: "http://127.0.0.1:8233", TemporalNamespace: "default", ClickHouse: &url.URL{}, S3Endpoint: "http://127.0.0.1:7070", Bucket: "millrace"},
		Pace:  Pace{Start: end.Add(-time.Minute), Full: end.Add(time.Minute)}, Sent: totals, Strange: 6, Delivery: &Delivery{took: 98 * time.Second},
		Applied: end.Add(25 * time.Second), Loaded: Loaded{Rows: 200_006, First: end.UnixMicro() - 1, Last: end.UnixMicro()},
	}
	for i, rows := range []int64{81_063, 118_943, 0} {
		manifest := Manifest{Key: "demo/_millrace/flights/…/manifest.json", Rows: rows}
		manifest.Run.End = end.Add(time.Duration(i) * time.Minute)
		manifest.By.WorkflowID = "flights-" + manifest.Run.End.Format(time.RFC3339)
		manifest.By.RunID = "01a209b1-ecd9-724e-8689-9970a5194e8a"
		result.Manifests = append(result.Manifests, manifest)
	}
	for _, name := range []string{"ClickHouse s3()", "hyparquet"} {
		result.Comparisons = append(result.Comparisons, Comparison{Reader: name, Totals: totals, Wanted: totals, IDs: 200_006, Strange: 6, Took: 1234 * time.Millisecond})
	}
	return result
}

func reportText(result *Result) string { return reportOf(result, false) }

func reportOf(result *Result, up bool) string {
	var out bytes.Buffer
	report(&out, result, Times{SetUp: 4 * time.Second, World: time.Second, Job: 2 * time.Minute}, up)
	return out.String()
}

// Addresses are of use only while somebody answers at them.
func TestReportNamesAddressesThatLive(t *testing.T) {
	t.Setenv("MILLRACE_CACHE", t.TempDir())
	stays, goes := reportOf(someResult(), true), reportOf(someResult(), false)
	if !strings.Contains(stays, "http://127.0.0.1:8233/namespaces/default/schedules/flights\n") || !strings.Contains(stays, "http://127.0.0.1:7070") {
		t.Errorf("it stays up, and the report does not say where:\n%s", stays)
	}
	if strings.Contains(goes, "http://") || !strings.Contains(goes, "`make demo STAY=1` keeps schedule, runs and files up") {
		t.Errorf("it goes down, and the report does not say so:\n%s", goes)
	}
}

func TestReportFitsATerminalAndSaysHowItWent(t *testing.T) {
	t.Setenv("MILLRACE_CACHE", t.TempDir())
	text := reportText(someResult()) + reportOf(someResult(), true)
	for line := range strings.Lines(text) {
		if width := utf8.RuneCountInString(strings.TrimRight(line, "\n")); width > columns {
			t.Errorf("%d columns: %s", width, line)
		}
	}
	for _, want := range []string{
		"everything came back as it was sent", "200,006 rows in 2 runs", "18:00–18:01    its backfill     81,063", "18:01–18:02    the schedule    118,943", "a warm start",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestReportSaysWhatDiffers(t *testing.T) {
	t.Setenv("MILLRACE_CACHE", t.TempDir())
	for name, damage := range map[string]func(*Result){
		"a reader":     func(r *Result) { r.Comparisons[1].Missing = 3 },
		"the table":    func(r *Result) { r.Loaded.Rows++ },
		"the runs":     func(r *Result) { r.Manifests[0].Rows-- },
		"no read-back": func(r *Result) { r.Comparisons = nil },
	} {
		result := someResult()
		damage(result)
		if text := reportText(result); result.OK() || !strings.Contains(text, "DIFFERS") {
			t.Errorf("%s: the report does not say so:\n%s", name, text)
		}
	}
}

func TestAWarmStartRemembersTheColdOne(t *testing.T) {
	t.Setenv("MILLRACE_CACHE", t.TempDir())
	cold := Times{SetUp: 5 * time.Minute, World: 5 * time.Second, Job: 2 * time.Minute}
	if err := cold.keepCold(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	warm := Times{SetUp: 2 * time.Second, World: time.Second, Job: 2 * time.Minute}
	if err := warm.keepCold(); err != nil {
		t.Fatal(err)
	}
	warm.report(&out)
	if want := "the last cold start on this machine took 7:05"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in %s", want, out.String())
	}
}
