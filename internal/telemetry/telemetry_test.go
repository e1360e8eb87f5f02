package telemetry_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/telemetry"
)

func TestLogIsJSONWhereNobodyLooks(t *testing.T) {
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, slog.LevelInfo)
	log.Debug("unseen")
	log.Info("seen", "export", "shop-events", "took", 1500*time.Millisecond)
	var line struct {
		Time   time.Time
		Msg    string
		Export string
		Took   string
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if line.Msg != "seen" || line.Export != "shop-events" || line.Took != "1.5s" || line.Time.Location() != time.UTC {
		t.Errorf("got %s", out.String())
	}
}

func TestParseLevel(t *testing.T) {
	for text, want := range map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError} {
		if got, err := telemetry.ParseLevel(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	const want = `log level "loud" is unknown: use debug, info, warn or error`
	if _, err := telemetry.ParseLevel("loud"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestIsTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, w := range []io.Writer{&bytes.Buffer{}, null} {
		if telemetry.IsTerminal(w) {
			t.Errorf("%T is taken for a terminal", w)
		}
		if width := telemetry.Columns(w); width != 0 {
			t.Errorf("%T has %d columns", w, width)
		}
	}
}

func TestMetrics(t *testing.T) {
	defer goleak.VerifyNone(t)
	build := telemetry.ReadBuild()
	server, err := telemetry.ServeMetrics("127.0.0.1:0", telemetry.NewRegistry(build))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + server.Address() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, wanted := range []string{`millrace_build_info{go="` + build.Go + `"`, "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(string(page), wanted) {
			t.Errorf("the page lacks %s", wanted)
		}
	}
	if _, err := telemetry.ServeMetrics(server.Address(), telemetry.NewRegistry(build)); err == nil {
		t.Error("an address that is taken is served twice")
	}
	for range 2 {
		if err := server.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}
