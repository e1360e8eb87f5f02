// Package starter is the client side of Millrace: it turns definitions into Temporal Schedules, starts runs and
// follows them, and tells how exports stand. It talks to Temporal alone and holds no credentials of destinations.
package starter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// Starter speaks to one Temporal namespace. It is safe for concurrent use.
type Starter struct {
	// Temporal is the client, connected to the namespace.
	Temporal client.Client
	// DataConverter is the client's, so that inputs of schedules can be read back; nil means the SDK's default.
	DataConverter converter.DataConverter
	// Namespace is the name of that namespace, for what the client's own calls do not do: without it Pause and Resume take
	// "default", and starts that a schedule dropped because too many waited are not told.
	Namespace string
	// File is where the definitions of exports are, for messages that tell people to apply it; empty means millrace.yaml.
	File string
}

func (s *Starter) converter() converter.DataConverter {
	if s.DataConverter == nil {
		return converter.GetDefaultDataConverter()
	}
	return s.DataConverter
}

// Definition reads the definition of an export from its schedule. The error of an unknown name lists the exports
// there are.
func (s *Starter) Definition(ctx context.Context, name string) (export.Definition, error) {
	description, err := s.Temporal.ScheduleClient().GetHandle(ctx, name).Describe(ctx)
	if notFound(err) {
		names, listErr := s.names(ctx)
		if listErr != nil {
			return export.Definition{}, listErr
		}
		known := "there are none yet"
		if len(names) > 0 {
			known = "the exports are " + strings.Join(names, ", ")
		}
		return export.Definition{}, export.Errorf(export.KindConfig, "no export is named %q: %s; create it with `millrace apply -f %s`", name, known, cmp.Or(s.File, "millrace.yaml"))
	}
	if err != nil {
		return export.Definition{}, fmt.Errorf("read schedule %q: %w", name, err)
	}
	if of, nightly := strings.CutSuffix(name, nightlySuffix); nightly && startsWorkflow(description.Schedule, workflows.NameReconcile) {
		return export.Definition{}, export.Errorf(export.KindConfig, "%q is no export, but the schedule that reconciles export %s: give that name, or use `temporal schedule` for the schedule", name, of)
	}
	input, err := s.input(description.Schedule)
	if err != nil {
		return export.Definition{}, fmt.Errorf("read the input of schedule %q: %w", name, err)
	}
	return input.Definition, nil
}

func startsWorkflow(schedule client.Schedule, name string) bool {
	action, is := schedule.Action.(*client.ScheduleWorkflowAction)
	return is && action.Workflow == name
}

// names lists the exports that have a schedule, sorted.
func (s *Starter) names(ctx context.Context) ([]string, error) {
	var names []string
	schedules, err := s.Temporal.ScheduleClient().List(ctx, client.ScheduleListOptions{PageSize: 100})
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	for schedules.HasNext() {
		entry, err := schedules.Next()
		if err != nil {
			return nil, fmt.Errorf("list schedules: %w", err)
		}
		if entry.WorkflowType.Name == workflows.NameExport {
			names = append(names, entry.ID)
		}
	}
	sort.Strings(names)
	return names, nil
}

func notFound(err error) bool {
	var missing *serviceerror.NotFound
	return errors.As(err, &missing)
}
