package activities

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/activity"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// CheckTask names a connection to be tried out.
type CheckTask struct {
	Connection string `json:"connection"`
	// Definition is an export to be tried out with its connection; nil tries out the connection alone.
	Definition *export.Definition `json:"definition,omitempty"`
}

// CheckReport is what a check found, step by step. Failed steps are part of the report and no error.
type CheckReport struct {
	Connection string `json:"connection"`
	// Export is the name of the export, if one was tried out.
	Export string `json:"export,omitempty"`
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
	definition := export.Definition{}.WithDefaults()
	if task.Definition != nil {
		report.Export = task.Definition.Name
		described, ok := s.checkModel(ctx, *task.Definition, add)
		if !ok {
			return report, nil
		}
		definition, task.Connection = described, described.Connection
		report.Connection = task.Connection
	}
	name, block, err := s.Connections.Connection(task.Connection)
	if err != nil {
		add(destinations.Step{Name: "find the connection", Error: err.Error()})
		return report, nil
	}
	report.Kind = name
	kind, err := destinations.Lookup(name)
	if err == nil && task.Definition != nil && name != definition.Destination {
		err = export.Errorf(export.KindConfig, "the export's block is %q, but connection %q is of kind %q: rename the block or name another connection", definition.Destination, task.Connection, name)
	}
	if err != nil {
		add(destinations.Step{Name: "find the connection", Error: err.Error()})
		return report, nil
	}
	add(destinations.Step{Name: "find the connection", Detail: name})
	settings := definition.Settings
	if task.Definition == nil {
		if settings, err = kind.Normalize([]byte("{}")); err != nil {
			return report, failure(ctx, export.Errorf(export.KindInternal, "default settings of %s: %w", name, err))
		}
	}
	destination, err := kind.Open(ctx, block, settings, destinations.ShapeOf(definition))
	if err != nil {
		add(destinations.Step{Name: "read the connection's settings", Error: err.Error()})
		return report, nil
	}
	if err := destination.Check(ctx, add); err != nil {
		report.OK = false
	}
	return report, nil
}

// checkModel tries out what an export reads: whether ClickHouse can run its query, whether the columns are there, and how
// much of the tables a run would read, of the last interval or the latest that has rows. The answer is the definition as its plan would have it.
func (s *Steps) checkModel(ctx context.Context, definition export.Definition, add func(destinations.Step)) (export.Definition, bool) {
	failed := func(name string, err error) (export.Definition, bool) {
		add(destinations.Step{Name: name, Error: err.Error()})
		return definition, false
	}
	definition, err := destinations.Normalize(definition)
	if err != nil {
		return failed("read the definition", err)
	}
	add(destinations.Step{Name: "read the definition", Detail: fmt.Sprintf("model %s of team %s to %s, every %s", definition.Model, definition.Team, definition.Connection, definition.Every)})
	if definition, err = s.describe(ctx, definition); err != nil {
		return failed("describe the model", err)
	}
	columns, err := definition.Exported()
	if err != nil {
		return failed("describe the model", err)
	}
	add(destinations.Step{Name: "describe the model", Detail: export.Structure(columns)})
	found, err := s.measure(ctx, definition)
	if err != nil {
		return failed("plan the last interval", err)
	}
	add(destinations.Step{Name: "plan the last interval", Detail: found})
	return definition, true
}
