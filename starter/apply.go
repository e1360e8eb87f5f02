package starter

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// Action is what applying a definition does.
type Action string

// The actions.
const (
	ActionCreate Action = "create"
	ActionUpdate Action = "update"
	ActionNone   Action = "unchanged"
	// ActionIgnore is for a schedule that no definition names: it is left alone.
	ActionIgnore Action = "not in the file"
)

// FieldChange is one difference between a schedule and its definition. From is empty for a field that is new.
type FieldChange struct {
	Field string `json:"field"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// Change is what applying one definition would do, or did.
type Change struct {
	Export string        `json:"export"`
	Action Action        `json:"action"`
	Fields []FieldChange `json:"fields,omitempty"`
	// Definition is what the schedule is to have: how time was cut before is part of it.
	Definition *export.Definition `json:"definition,omitempty"`
	// Nightly is set of a schedule that reconciles the export each night, whose id is in Export then.
	Nightly *export.Nightly `json:"nightly,omitempty"`
	// FilledFrom is set once an update was applied: what the new times have had due since then was started, for Temporal
	// counts them from the update on. Nil for a paused schedule: what falls due in a pause is started by nobody.
	FilledFrom *time.Time `json:"filled_from,omitempty"`
	// written is the definition as it was given, without what it takes over from the schedule.
	written *export.Definition
}

// Diff compares definitions, normalised, with the schedules there are, and changes nothing. The order is that of the
// definitions; schedules that are not among them come last.
func (s *Starter) Diff(ctx context.Context, definitions []export.Definition) ([]Change, error) {
	existing, err := s.names(ctx)
	if err != nil {
		return nil, err
	}
	var changes []Change
	for _, definition := range definitions {
		change, err := s.diff(ctx, definition)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change)
		existing = slices.DeleteFunc(existing, func(name string) bool { return name == definition.Name })
	}
	for _, name := range existing {
		changes = append(changes, Change{Export: name, Action: ActionIgnore})
	}
	return changes, nil
}

func (s *Starter) diff(ctx context.Context, definition export.Definition) (Change, error) {
	written := definition
	change := Change{Export: definition.Name, Action: ActionCreate, Definition: &definition, written: &written}
	// A schedule that was made a moment ago may not be in the list yet, so ask for it by name.
	description, err := s.Temporal.ScheduleClient().GetHandle(ctx, definition.Name).Describe(ctx)
	if notFound(err) {
		change.Fields = fieldChanges(nil, definitionFields(definition))
		return change, nil
	}
	if err != nil {
		return change, fmt.Errorf("read schedule %q: %w", definition.Name, err)
	}
	if action, ok := description.Schedule.Action.(*client.ScheduleWorkflowAction); !ok || action.Workflow != workflows.NameExport {
		return change, export.Errorf(export.KindConfig, "schedule %q exists and is no export: rename the export, or delete the schedule with `temporal schedule delete --schedule-id %s`", definition.Name, definition.Name)
	}
	if definition, err = s.follow(definition, description.Schedule, time.Now()); err != nil {
		return change, err
	}
	wanted, err := schedule(definition)
	if err != nil {
		return change, err
	}
	change.Fields = s.scheduleChanges(description.Schedule, wanted, definition)
	change.Action = ActionUpdate
	if len(change.Fields) == 0 {
		change.Action = ActionNone
	}
	change.Definition = &definition
	return change, nil
}

// follow is a definition as it follows what its schedule has at a moment. A schedule whose input nobody can read is followed by
// the definition as it stands.
func (s *Starter) follow(definition export.Definition, there client.Schedule, now time.Time) (export.Definition, error) {
	input, err := s.input(there)
	before := input.Definition.WithDefaults()
	if err != nil || before.Validate() != nil {
		return definition, nil
	}
	return definition.After(before, now)
}

// handOverMargin is for how long before the end of an old interval no change of the grid is begun: the schedule might start it
// by the old definition while it takes up the new one.
const handOverMargin = 10 * time.Second

// isQuiet says that an update which changes the grid would come too near to the end of an old interval.
func (s *Starter) isQuiet(definition export.Definition, there client.Schedule, now time.Time) error {
	input, err := s.input(there)
	if err != nil || input.Definition.Every == definition.Every && input.Definition.Offset == definition.Offset && input.Definition.TimeZone == definition.TimeZone {
		return nil
	}
	old, err := input.Definition.WithDefaults().Grid()
	if err != nil {
		return nil // nothing was ever started by it
	}
	if ends := old.Today().Containing(now).End; ends.Sub(now) < handOverMargin {
		return export.Errorf(export.KindConfig, "export %q: an interval ends at %s, in a moment, and its run must not be mistaken for one of other intervals: apply again after that", definition.Name, ends.Format(time.RFC3339))
	}
	return nil
}

// scheduleChanges compares what is there with what is wanted: the definition, when it fires, and its policies.
func (s *Starter) scheduleChanges(have, want client.Schedule, definition export.Definition) []FieldChange {
	var before map[string]string
	if input, err := s.input(have); err == nil {
		before = definitionFields(input.Definition)
	}
	changes := fieldChanges(before, definitionFields(definition))
	compare := func(field, from, to string) {
		if from != to {
			changes = append(changes, FieldChange{Field: field, From: from, To: to})
		}
	}
	haveAction, wantAction := have.Action.(*client.ScheduleWorkflowAction), want.Action.(*client.ScheduleWorkflowAction)
	compare("schedule.encrypted_with", s.inputKey(haveAction), s.inputKey(wantAction))
	compare("schedule.task_queue", haveAction.TaskQueue, wantAction.TaskQueue)
	compare("schedule.workflow_id", haveAction.ID, wantAction.ID)
	compare("schedule.times", specText(have.Spec), specText(want.Spec))
	compare("schedule.overlap", have.Policy.Overlap.String(), want.Policy.Overlap.String())
	compare("schedule.catchup_window", have.Policy.CatchupWindow.String(), want.Policy.CatchupWindow.String())
	compare("schedule.pause_on_failure", fmt.Sprint(have.Policy.PauseOnFailure), fmt.Sprint(want.Policy.PauseOnFailure))
	return changes
}

// specText writes a spec in one form for what was sent and for what the server made of it.
func specText(spec *client.ScheduleSpec) string {
	text := ""
	for _, interval := range spec.Intervals {
		text += fmt.Sprintf("every %s ", export.Duration(interval.Every))
		if interval.Offset != 0 {
			text += fmt.Sprintf("offset %s ", export.Duration(interval.Offset))
		}
	}
	ranges := func(name string, fields []client.ScheduleRange, whole client.ScheduleRange) {
		for _, field := range fields {
			field.End, field.Step = max(field.End, field.Start), max(field.Step, 1)
			whole.Step = 1
			if field != whole {
				text += fmt.Sprintf("%s %d-%d/%d ", name, field.Start, field.End, field.Step)
			}
		}
	}
	for _, calendar := range spec.Calendars {
		ranges("second", calendar.Second, client.ScheduleRange{Start: -1})
		ranges("minute", calendar.Minute, client.ScheduleRange{Start: -1})
		ranges("hour", calendar.Hour, client.ScheduleRange{Start: -1})
		ranges("day", calendar.DayOfMonth, client.ScheduleRange{Start: 1, End: 31})
		ranges("month", calendar.Month, client.ScheduleRange{Start: 1, End: 12})
		ranges("weekday", calendar.DayOfWeek, client.ScheduleRange{Start: 0, End: 6})
	}
	for _, cron := range spec.CronExpressions {
		text += "cron " + cron + " "
	}
	if len(spec.Skip) > 0 || !spec.StartAt.IsZero() || !spec.EndAt.IsZero() || spec.Jitter != 0 {
		text += "with skip, start, end or jitter "
	}
	if spec.TimeZoneName != "" && spec.TimeZoneName != "UTC" {
		text += "in " + spec.TimeZoneName
	}
	return strings.TrimSpace(text)
}

// definitionFields flattens a definition into its fields, as JSON texts by dotted names.
func definitionFields(definition export.Definition) map[string]string {
	fields := map[string]string{}
	encoded, err := json.Marshal(definition)
	if err != nil {
		panic(fmt.Sprintf("encode definition of %q: %v", definition.Name, err)) // plain data: cannot happen
	}
	var flatten func(prefix string, value json.RawMessage)
	flatten = func(prefix string, value json.RawMessage) {
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) != nil || object == nil {
			fields[prefix] = string(value)
			return
		}
		for name, inner := range object {
			if prefix != "" {
				name = prefix + "." + name
			}
			flatten(name, inner)
		}
	}
	flatten("", encoded)
	return fields
}

func fieldChanges(before, after map[string]string) []FieldChange {
	var changes []FieldChange
	for field, to := range after {
		if from := before[field]; from != to {
			changes = append(changes, FieldChange{Field: field, From: from, To: to})
		}
	}
	for field, from := range before {
		if _, kept := after[field]; !kept {
			changes = append(changes, FieldChange{Field: field, From: from})
		}
	}
	sort.Slice(changes, func(i, j int) bool { return changes[i].Field < changes[j].Field })
	return changes
}

// Apply carries out a change that Diff found: it creates the schedule, or updates it and then starts what its new times
// have had due before the update, which costs nothing where it was done already. The old times need nothing: Temporal
// starts what they have due before it takes up an update. Applied twice, the second time changes nothing. A pause of the
// schedule stays.
func (s *Starter) Apply(ctx context.Context, change Change) (Change, error) {
	switch change.Action {
	case ActionCreate:
		return change, s.create(ctx, *change.Definition)
	case ActionUpdate:
		return s.update(ctx, change)
	}
	return change, nil
}

func (s *Starter) create(ctx context.Context, definition export.Definition) error {
	wanted, err := schedule(definition)
	if err != nil {
		return err
	}
	_, err = s.Temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: definition.Name, Spec: *wanted.Spec, Action: wanted.Action,
		Overlap: wanted.Policy.Overlap, CatchupWindow: wanted.Policy.CatchupWindow, PauseOnFailure: wanted.Policy.PauseOnFailure,
	})
	if err != nil {
		return fmt.Errorf("create schedule %q: %w", definition.Name, err)
	}
	return nil
}

func (s *Starter) update(ctx context.Context, change Change) (Change, error) {
	if err := s.noBackfillByOld(ctx, change); err != nil {
		return change, err
	}
	written := *cmp.Or(change.written, change.Definition)
	handle := s.Temporal.ScheduleClient().GetHandle(ctx, change.Export)
	var before client.ScheduleDescription
	var wanted client.Schedule
	err := handle.Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(input client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			before = input.Description
			now := time.Now()
			definition, err := s.follow(written, before.Schedule, now)
			if err == nil {
				err = s.isQuiet(definition, before.Schedule, now)
			}
			if err != nil {
				return nil, err
			}
			change.Definition = &definition
			if wanted, err = schedule(definition); err != nil {
				return nil, err
			}
			updated := wanted
			updated.State = before.Schedule.State
			return &client.ScheduleUpdate{Schedule: &updated}, nil
		},
	})
	if err != nil {
		return change, fmt.Errorf("update schedule %q: %w", change.Export, err)
	}
	if before.Schedule.State.Paused {
		return change, nil // what falls due in a pause is not made up for, and not here either
	}
	from, err := s.notYetDue(before, *change.Definition)
	if err != nil {
		return change, err
	}
	if err := s.awaitUpdate(ctx, change.Export, before); err != nil {
		return change, err
	}
	if err := s.fill(ctx, change.Export, from, wanted.Policy.Overlap); err != nil {
		return change, fmt.Errorf("start what the new times of schedule %q have had due before its update: %w", change.Export, err)
	}
	change.FilledFrom = &from
	return change, nil
}

// noBackfillByOld refuses a change of what time is cut by while a backfill cuts it as before: it could come to time that is cut
// otherwise by then.
func (s *Starter) noBackfillByOld(ctx context.Context, change Change) error {
	cuts := func(f FieldChange) bool { return slices.Contains([]string{"every", "offset", "time_zone"}, f.Field) }
	if !slices.ContainsFunc(change.Fields, cuts) {
		return nil
	}
	_, running, err := s.latest(ctx, BackfillID(change.Export))
	if err == nil && running {
		err = export.Errorf(export.KindConfig, "export %q: a backfill is under way that cuts time as before: wait for it (`millrace backfill %s --follow`), or end it by `millrace backfill %s --cancel`, and apply again", change.Export, change.Export, change.Export)
	}
	return err
}

// notYetDue is the time up to which the schedule has started everything by its old times: the last boundary of its old
// grid, or its creation. Temporal counts new times from the update on, so what they have between the two would be lost.
func (s *Starter) notYetDue(before client.ScheduleDescription, definition export.Definition) (time.Time, error) {
	if input, err := s.input(before.Schedule); err == nil && input.Definition.WithDefaults().Validate() == nil {
		definition = input.Definition
	}
	grid, err := definition.Grid()
	if err != nil {
		return time.Time{}, err
	}
	from := grid.Today().LastEnded(time.Now()).End
	if created := before.Info.CreatedAt; created.After(from) {
		from = created
	}
	return from, nil
}
