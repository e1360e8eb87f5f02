package worker

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// What a schedule has left out is logged once, and again when it is more; the page of metrics has both metrics, word for word.
func TestWhatSchedulesLeaveOutIsLoggedOnce(t *testing.T) {
	var log strings.Builder
	registry := prometheus.NewRegistry()
	w, err := newSchedulesWatch(Config{Registerer: registry}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	look := func(missed int64) {
		w.tell(map[string]*workflowservice.DescribeScheduleResponse{"shop": {
			Schedule: &schedulepb.Schedule{State: &schedulepb.ScheduleState{Paused: true, Notes: "lunch"}},
			Info:     &schedulepb.ScheduleInfo{MissedCatchupWindow: missed},
		}})
	}
	for i, step := range []struct {
		missed int64
		lines  int
	}{{0, 0}, {3, 1}, {3, 1}, {5, 2}} {
		look(step.missed)
		if lines := strings.Count(log.String(), "a schedule has left out starts: `millrace reconcile shop --fill` fills them"); lines != step.lines {
			t.Errorf("after look %d it is logged %d times:\n%s", i, lines, &log)
		}
	}
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 2 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	for _, family := range families {
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		line := fmt.Sprintf("| `%s{%s}` | gauge | %s |", family.GetName(), strings.Join(labels, ","), family.GetHelp())
		if !strings.Contains(string(page), line) {
			t.Errorf("docs/metrics.md lacks the line\n%s", line)
		}
	}
}
