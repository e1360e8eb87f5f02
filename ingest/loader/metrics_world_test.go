//go:build world

package loader_test

import (
	"bufio"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/ingest/capture"
	"github.com/millrace/millrace/internal/telemetry"
	"github.com/millrace/millrace/internal/testworld"
)

// update writes the table in docs/metrics.md anew: go test -tags world -run EveryMetric ./ingest/loader -update
var update = flag.Bool("update", false, "write docs/metrics.md anew")

const metricsPage = "../../docs/metrics.md"

// promised is what operators were promised a metric for.
var promised = map[string]string{
	"accepted events":          "millrace_capture_events_accepted_total",
	"refused, by reason":       "millrace_capture_events_refused_total",
	"produce latency":          "millrace_capture_acknowledge_seconds",
	"lag":                      "millrace_loader_lag_messages",
	"rows of blocks":           "millrace_loader_block_rows",
	"bytes of blocks":          "millrace_loader_block_bytes",
	"insert latency":           "millrace_loader_insert_seconds",
	"age of the watermark":     "millrace_loader_watermark_age_seconds",
	"duplicates":               "millrace_loader_duplicates_total",
	"quarantined messages":     "millrace_loader_quarantined_messages_total",
	"repairs, by outcome":      "millrace_loader_repairs_total",
	"partitions without owner": "millrace_loader_partitions_without_owner",
	"no progress with a lag":   "millrace_loader_stuck_seconds",
	"waits for people":         "millrace_loader_partition_stopped",
}

// unitOf is the unit that a metric's name ends in.
func unitOf(name string) string {
	for suffix, unit := range map[string]string{
		"_total": "count", "_seconds": "seconds", "_bytes": "bytes", "_rows": "rows", "_messages": "messages",
		"partitions_without_owner": "partitions", "kafka_connected": "0 or 1", "partition_stopped": "0 or 1",
	} {
		if strings.HasSuffix(name, suffix) {
			return unit
		}
	}
	return ""
}

// Capture and loader serve their metrics for real, after each has something to tell, and the page says what is scraped.
func TestEveryMetricIsScrapedWithHelpAndUnitAndIsOnThePage(t *testing.T) {
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	serveCapture(t, w, registry)
	w.sendBroken(t, 1)
	config := w.config(t)
	config.Registerer = registry
	start(t, config)
	metrics, err := telemetry.ServeMetrics("127.0.0.1:0", registry)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = metrics.Close() })

	var families map[string]*family
	testworld.Eventually(t, time.Minute, func() error {
		families = scrape(t, "http://"+metrics.Address()+"/metrics")
		for _, told := range []string{
			`millrace_capture_events_accepted_total{team="1"} 2`,
			`millrace_capture_events_refused_total{reason="name_missing"} 1`,
			`millrace_capture_acknowledge_seconds_count 2`,
			`millrace_loader_rows_total 1`,
			`millrace_loader_duplicates_total 1`,
			`millrace_loader_quarantined_messages_total 1`,
			`millrace_loader_repairs_total{outcome="planned_again"} 0`,
			`millrace_loader_partitions_without_owner 0`,
			`millrace_loader_lag_messages{partition="7"} 0`,
			`millrace_loader_stuck_seconds{partition="7"} 0`,
			`millrace_loader_partition_stopped{partition="7"} 0`,
		} {
			name, _, _ := strings.Cut(told, "{")
			name, _, _ = strings.Cut(name, " ")
			name = strings.TrimSuffix(name, "_count")
			if f := families[name]; f == nil || !slices.Contains(f.samples, told) {
				return fmt.Errorf("%s is not told: %+v", told, f)
			}
		}
		return nil
	})
	for what, name := range promised {
		if families[name] == nil {
			t.Errorf("%s: there is no %s", what, name)
		}
	}
	for name, f := range families {
		if f.help == "" {
			t.Errorf("%s explains itself by nothing", name)
		}
		if unitOf(name) == "" {
			t.Errorf("%s does not end in its unit", name)
		}
	}
	checkPage(t, families)
}

// serveCapture takes an event twice, and one that it refuses.
func serveCapture(t *testing.T, w *world, registry *prometheus.Registry) {
	t.Helper()
	service, err := capture.Open(capture.Config{
		Teams: []capture.Team{{ID: 1, Name: "shop", Token: "mr_shop"}}, Broker: w.kafka, Registerer: registry,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), AckTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service.Handler())
	t.Cleanup(func() {
		server.Close()
		_ = service.Close(t.Context())
	})
	body := `{"api_key":"mr_shop","batch":[{"event":"seen","distinct_id":"p","timestamp":"2026-11-23T10:00:00Z","uuid":"` + w.uuid().String() + `"}`
	for _, text := range []string{body + `]}`, body + `,{"distinct_id":"p"}]}`} {
		testworld.Eventually(t, time.Minute, func() error {
			answer, err := server.Client().Post(server.URL+"/batch/", "application/json", strings.NewReader(text))
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return fmt.Errorf("capture answers %s", answer.Status)
			}
			return nil
		})
	}
}

// family is a metric as Prometheus reads it.
type family struct {
	kind, help string
	labels     []string
	samples    []string
}

var label = regexp.MustCompile(`([a-z_]+)="`)

// scrape reads the text that Prometheus does, by metric.
func scrape(t *testing.T, url string) map[string]*family {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	families := map[string]*family{}
	var present *family
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		line := lines.Text()
		if rest, isHelp := strings.CutPrefix(line, "# HELP "); isHelp {
			name, help, _ := strings.Cut(rest, " ")
			present = &family{help: help}
			families[name] = present
			continue
		}
		if rest, isType := strings.CutPrefix(line, "# TYPE "); isType {
			_, present.kind, _ = strings.Cut(rest, " ")
			continue
		}
		present.samples = append(present.samples, line)
		for _, found := range label.FindAllStringSubmatch(line, -1) {
			if name := found[1]; name != "le" && !slices.Contains(present.labels, name) {
				present.labels = append(present.labels, name)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return families
}

const tableBegins, tableEnds = "<!-- The table is written by the test that scrapes them. -->\n", "<!-- Here it ends. -->\n"

// checkPage wants the page's table to be what was scraped, and every metric that the page names to be there.
func checkPage(t *testing.T, families map[string]*family) {
	t.Helper()
	content, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	before, rest, begins := strings.Cut(page, tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		t.Fatalf("%s has no table", metricsPage)
	}
	want := before + tableBegins + "\n" + table(families) + "\n" + tableEnds + after
	if *update {
		if err := os.WriteFile(metricsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		page = want
	}
	if page != want {
		t.Errorf("%s says otherwise than what is scraped; write it anew with -update. It should have\n%s", metricsPage, table(families))
	}
	ours, workers, _ := strings.Cut(page, "\n## Of a worker\n") // whose lines the tests of those metrics hold
	for _, name := range regexp.MustCompile(`millrace_[a-z_]+`).FindAllString(ours, -1) {
		base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
		ofWorker := strings.Contains(workers, "\n| `"+name+"{") || strings.Contains(workers, "\n| `"+name+"`")
		if families[name] == nil && families[base] == nil && !ofWorker {
			t.Errorf("%s names %s, which is not scraped", metricsPage, name)
		}
	}
}

func table(families map[string]*family) string {
	var names []string
	for name := range families {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString("| metric | kind | unit | what it tells |\n|---|---|---|---|\n")
	for _, name := range names {
		f := families[name]
		shown := name
		if len(f.labels) > 0 {
			shown += "{" + strings.Join(f.labels, ",") + "}"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", shown, f.kind, unitOf(name), strings.ReplaceAll(f.help, "|", `\|`))
	}
	return b.String()
}
