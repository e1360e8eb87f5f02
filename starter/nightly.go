package starter

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// ActionDelete is for a schedule that is taken away: a reconciliation each night that is not wanted any more.
const ActionDelete Action = "delete"

// NightlyID is the id of the schedule that reconciles an export each night. No export has such a name.
func NightlyID(name string) string { return name + nightlySuffix }

const nightlySuffix = "--reconcile"

// DiffNightly compares the schedules that reconcile exports each night with what is wanted, nil for none, and changes nothing.
// What is as it should be, and what is neither there nor wanted, is not told.
func (s *Starter) DiffNightly(ctx context.Context, definitions []export.Definition, nightly *export.Nightly) ([]Change, error) {
	var changes []Change
	for _, definition := range definitions {
		change, err := s.diffNightly(ctx, definition, nightly)
		if err != nil {
			return nil, err
		}
		if change.Action != ActionNone {
			changes = append(changes, change)
		}
	}
	return changes, nil
}

func (s *Starter) diffNightly(ctx context.Context, definition export.Definition, nightly *export.Nightly) (Change, error) {
	id := NightlyID(definition.Name)
	written := definition
	definition, err := s.asScheduled(ctx, definition)
	change := Change{Export: id, Action: ActionNone, Definition: &definition, Nightly: nightly, written: &written}
	if err != nil {
		return change, err
	}
	description, err := s.Temporal.ScheduleClient().GetHandle(ctx, id).Describe(ctx)
	there := err == nil
	if err != nil && !notFound(err) {
		return change, fmt.Errorf("read schedule %q: %w", id, err)
	}
	switch {
	case nightly == nil && there:
		change.Action = ActionDelete
		return change, nil
	case nightly == nil:
		return change, nil
	}
	wanted, err := nightlySchedule(definition, *nightly)
	if err != nil {
		return change, err
	}
	want := nightlyFields(nightly.Task(definition))
	if !there {
		change.Action, change.Fields = ActionCreate, []FieldChange{{Field: "reconcile", To: nightly.String()}}
		return change, nil
	}
	var before map[string]string
	if task, err := s.nightlyTask(description.Schedule); err == nil {
		before = nightlyFields(task)
	}
	change.Fields = fieldChanges(before, want)
	if have, wants := specText(description.Schedule.Spec), specText(wanted.Spec); have != wants {
		change.Fields = append(change.Fields, FieldChange{Field: "schedule.times", From: have, To: wants})
	}
	if action, isWorkflow := description.Schedule.Action.(*client.ScheduleWorkflowAction); isWorkflow {
		if have, wants := s.inputKey(action), s.inputKey(wanted.Action.(*client.ScheduleWorkflowAction)); have != wants {
			change.Fields = append(change.Fields, FieldChange{Field: "schedule.encrypted_with", From: have, To: wants})
		}
	}
	if len(change.Fields) > 0 {
		change.Action = ActionUpdate
	}
	return change, nil
}

// asScheduled is a definition as the schedule of its export has it, or will have it: it knows how time was cut before.
func (s *Starter) asScheduled(ctx context.Context, definition export.Definition) (export.Definition, error) {
	description, err := s.Temporal.ScheduleClient().GetHandle(ctx, definition.Name).Describe(ctx)
	switch {
	case notFound(err):
		return definition, nil
	case err != nil:
		return definition, fmt.Errorf("read schedule %q: %w", definition.Name, err)
	}
	return s.follow(definition, description.Schedule, time.Now())
}

// ApplyNightly carries out a change that DiffNightly found. Applied twice, the second time changes nothing. A pause of the
// schedule stays.
func (s *Starter) ApplyNightly(ctx context.Context, change Change) error {
	handle := s.Temporal.ScheduleClient().GetHandle(ctx, change.Export)
	if change.Action == ActionDelete {
		if err := handle.Delete(ctx); err != nil && !notFound(err) {
			return fmt.Errorf("delete schedule %q: %w", change.Export, err)
		}
		return nil
	}
	definition, err := s.asScheduled(ctx, *cmp.Or(change.written, change.Definition)) // as it was applied
	if err != nil {
		return err
	}
	wanted, err := nightlySchedule(definition, *change.Nightly)
	if err != nil {
		return err
	}
	if change.Action == ActionCreate {
		_, err = s.Temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{ID: change.Export, Spec: *wanted.Spec, Action: wanted.Action, Overlap: wanted.Policy.Overlap})
		if err != nil {
			return fmt.Errorf("create schedule %q: %w", change.Export, err)
		}
		return nil
	}
	err = handle.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(input client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		updated := wanted
		updated.State = input.Description.Schedule.State
		return &client.ScheduleUpdate{Schedule: &updated}, nil
	}})
	if err != nil {
		return fmt.Errorf("update schedule %q: %w", change.Export, err)
	}
	return nil
}

// found says what the last reconciliation of an export has found and not healed, or that the last one of a night failed; empty
// when all was well, or none has ended in the time that Temporal keeps.
func (s *Starter) found(ctx context.Context, name string) (string, error) {
	answer, err := s.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 10, Query: workflows.ReconciliationsOf(name)})
	if err != nil {
		return "", fmt.Errorf("list the reconciliations of export %q: %w", name, err)
	}
	for _, execution := range answer.Executions {
		id, at := execution.Execution.WorkflowId, execution.CloseTime.AsTime().UTC().Format(time.RFC3339)
		switch {
		case execution.Status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
			var report export.ReconcileReport
			if err := s.Temporal.GetWorkflow(ctx, id, execution.Execution.RunId).Get(ctx, &report); err != nil {
				return "", fmt.Errorf("read what %s has found: %w", id, err)
			}
			found := report.NotHealed()
			var words []string
			for _, word := range slices.Sorted(maps.Keys(found)) {
				words = append(words, fmt.Sprintf("%s %d", word, found[word]))
			}
			if len(words) == 0 {
				return "", nil
			}
			return fmt.Sprintf("the last reconciliation, at %s, has found %s: `millrace reconcile %s` tells which", at, strings.Join(words, ", "), name), nil
		case execution.Status == enumspb.WORKFLOW_EXECUTION_STATUS_FAILED && strings.HasPrefix(id, NightlyID(name)):
			return fmt.Sprintf("the last reconciliation by night failed at %s: see workflow %s", at, id), nil
		}
	}
	return "", nil
}

// nightlySchedule starts a reconciliation once a day, unless the last one is still at it.
func nightlySchedule(definition export.Definition, nightly export.Nightly) (client.Schedule, error) {
	hour, minute, err := nightly.Time()
	if err != nil {
		return client.Schedule{}, err
	}
	at := clock{hour: hour, minute: minute}
	return client.Schedule{
		Action: &client.ScheduleWorkflowAction{
			ID: NightlyID(definition.Name), Workflow: workflows.NameReconcile, Args: []any{nightly.Task(definition)}, TaskQueue: workflows.QueueControl,
			StaticSummary: "reconcile " + summary(definition),
		},
		Spec:   &client.ScheduleSpec{Calendars: []client.ScheduleCalendarSpec{at.spec()}, TimeZoneName: cmp.Or(nightly.TimeZone, "UTC")},
		Policy: &client.SchedulePolicies{Overlap: enumspb.SCHEDULE_OVERLAP_POLICY_SKIP},
		State:  &client.ScheduleState{},
	}, nil
}

// nightlyTask reads the input of the reconciliations that a schedule starts, as it came back from the server.
func (s *Starter) nightlyTask(schedule client.Schedule) (export.ReconcileTask, error) {
	var task export.ReconcileTask
	action, isWorkflow := schedule.Action.(*client.ScheduleWorkflowAction)
	if !isWorkflow || len(action.Args) != 1 {
		return task, fmt.Errorf("its action has no input of a reconciliation")
	}
	payload, isPayload := action.Args[0].(*commonpb.Payload)
	if !isPayload {
		return task, fmt.Errorf("its input came back as %T", action.Args[0])
	}
	err := s.converter().FromPayload(payload, &task)
	return task, err
}

// nightlyFields flattens the input of a reconciliation into its fields, without saying each field of the definition twice over.
func nightlyFields(task export.ReconcileTask) map[string]string {
	fields := definitionFields(task.Definition)
	task.Definition = export.Definition{}
	encoded, err := json.Marshal(task)
	if err != nil {
		panic(fmt.Sprintf("encode a reconciliation: %v", err)) // plain data: cannot happen
	}
	var own map[string]json.RawMessage
	if err := json.Unmarshal(encoded, &own); err != nil {
		panic(fmt.Sprintf("decode a reconciliation: %v", err)) // it was encoded just now
	}
	delete(own, "definition")
	for name, value := range own {
		fields["reconcile."+name] = string(value)
	}
	return fields
}
