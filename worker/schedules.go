package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// scheduleLook is how often a worker looks at the schedules of all exports: one small question to Temporal for each of them.
const scheduleLook = 5 * time.Minute

// Who has paused an export, in the metric.
const (
	byMillrace = "millrace"
	byPeople   = "people"
)

// schedulesWatch looks at the schedules of exports now and then, and tells as metrics and in the log what they leave out: Temporal
// counts that and tells nobody. Every worker tells the same.
type schedulesWatch struct {
	temporal  client.Client
	namespace string
	log       *slog.Logger

	paused, leftOut *prometheus.GaugeVec
	// last is what was left out at the last look, by export and reason.
	last map[[2]string]int64
}

func newSchedulesWatch(config Config, log *slog.Logger) (*schedulesWatch, error) {
	w := &schedulesWatch{
		temporal: config.Temporal, namespace: config.Namespace, log: log, last: map[[2]string]int64{},
		paused: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_export_paused",
			Help: "1 for an export that is paused, by whom: millrace, for its user has something to mend, or people.",
		}, []string{"export", "by"}),
		leftOut: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "millrace_schedule_starts_left_out",
			Help: "Starts that the schedule of an export has left out since it was made, by reason: each is an interval that it never comes back to.",
		}, []string{"export", "reason"}),
	}
	if config.Registerer == nil {
		return w, nil
	}
	for _, metric := range []prometheus.Collector{w.paused, w.leftOut} {
		if err := config.Registerer.Register(metric); err != nil {
			return nil, fmt.Errorf("register the metrics of schedules: %w", err)
		}
	}
	return w, nil
}

// run looks until ctx ends. A look that fails leaves the metrics as they were.
func (w *schedulesWatch) run(ctx context.Context) {
	again := time.NewTicker(scheduleLook)
	defer again.Stop()
	for {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("look at the schedules of exports", "error", err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// look looks once. It is not safe for concurrent use.
func (w *schedulesWatch) look(ctx context.Context) error {
	list, err := w.temporal.ScheduleClient().List(ctx, client.ScheduleListOptions{PageSize: 100})
	if err != nil {
		return fmt.Errorf("list schedules: %w", err)
	}
	found := map[string]*workflowservice.DescribeScheduleResponse{}
	for list.HasNext() {
		entry, err := list.Next()
		if err != nil {
			return fmt.Errorf("list schedules: %w", err)
		}
		if entry.WorkflowType.Name != workflows.NameExport {
			continue
		}
		described, err := w.temporal.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: w.namespace, ScheduleId: entry.ID})
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			continue // deleted: the list lags behind by a moment
		}
		found[entry.ID] = described
	}
	w.tell(found)
	return nil
}

// tell sets the metrics to what was found, and logs what is new.
func (w *schedulesWatch) tell(found map[string]*workflowservice.DescribeScheduleResponse) {
	w.paused.Reset()
	w.leftOut.Reset()
	for name, described := range found {
		if state := described.GetSchedule().GetState(); state.GetPaused() {
			by := byPeople
			if export.ParsePause(state.GetNotes()).By == export.PausedByMillrace {
				by = byMillrace
			}
			w.paused.WithLabelValues(name, by).Set(1)
		}
		info := described.GetInfo()
		for reason, count := range map[string]int64{
			"missed_catchup_window": info.GetMissedCatchupWindow(), "overlap_skipped": info.GetOverlapSkipped(), "buffer_dropped": info.GetBufferDropped(),
		} {
			w.leftOut.WithLabelValues(name, reason).Set(float64(count))
			if key := [2]string{name, reason}; count > w.last[key] {
				w.log.Warn("a schedule has left out starts: `millrace reconcile "+name+" --fill` fills them", "export", name, "reason", reason, "starts", count)
				w.last[key] = count
			}
		}
	}
}
