package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// CheckTask names a connection to be tried out.
type CheckTask struct {
	Connection string `json:"connection"`
}

// CheckReport is what a check found, step by step. Failed steps are part of the report and no error.
type CheckReport struct {
	Connection string `json:"connection"`
	// Kind is the kind of the destination: "s3".
	Kind  string              `json:"kind,omitempty"`
	Steps []destinations.Step `json:"steps"`
	OK    bool                `json:"ok"`
}

// CheckConnection tries a connection out from this worker, and leaves nothing behind. Whatever is wrong with the
// connection is in the report, so that people see it in one place; an error means that the check itself did not run.
func (s *Steps) CheckConnection(ctx context.Context, task CheckTask) (CheckReport, error) {
	report := CheckReport{Connection: task.Connection, OK: true, Steps: []destinations.Step{}}
	add := func(step destinations.Step) {
		report.Steps = append(report.Steps, step)
		report.OK = report.OK && step.Error == ""
		if activity.IsActivity(ctx) {
			activity.RecordHeartbeat(ctx, len(report.Steps))
		}
	}
	name, block, err := s.Connections.Connection(task.Connection)
	if err != nil {
		add(destinations.Step{Name: "find the connection", Error: err.Error()})
		return report, nil
	}
	report.Kind = name
	kind, err := destinations.Lookup(name)
	if err != nil {
		add(destinations.Step{Name: "find the connection", Error: err.Error()})
		return report, nil
	}
	add(destinations.Step{Name: "find the connection", Detail: name})
	settings, err := kind.Normalize([]byte("{}"))
	if err != nil {
		return report, failure(ctx, export.Errorf(export.KindInternal, "default settings of %s: %w", name, err))
	}
	destination, err := kind.Open(ctx, block, settings, destinations.ShapeOf(export.Definition{}.WithDefaults()))
	if err != nil {
		add(destinations.Step{Name: "read the connection's settings", Error: err.Error()})
		return report, nil
	}
	if err := destination.Check(ctx, add); err != nil {
		report.OK = false
	}
	return report, nil
}
