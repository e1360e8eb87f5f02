package crash

import (
	"context"
	"math/rand/v2"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
)

// activitiesOfARun are the steps that a run can be reset to.
var activitiesOfARun = []string{"FindPublished", "AwaitWatermark", "PlanRun", "PrepareRun", "WriteChunk", "ProveRun", "PublishRun", "RecordRun"}

// temporalFaults are what people and schedules do to workflows. A run that is ended so is started again.
func temporalFaults() []Fault {
	deck := []Fault{
		{Name: "workflow: terminated in mid-chunk", Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
			t := stage.Exports.inMidChunk(ctx, random, "")
			return t != nil && stage.Exports.starter.Temporal.TerminateWorkflow(ctx, t.workflowID, "", "by the crash harness") == nil, nil
		}},
		{Name: "workflow: cancelled in mid-chunk", Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
			t := stage.Exports.inMidChunk(ctx, random, "")
			return t != nil && stage.Exports.starter.Temporal.CancelWorkflow(ctx, t.workflowID, "") == nil, nil
		}},
		{Name: "workflow: a second execution at once", Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
			t := stage.Exports.inMidChunk(ctx, random, "")
			if t == nil {
				return false, nil
			}
			_, before, _ := stage.Exports.Counts()
			stage.Exports.startTwin(ctx, t)
			_, after, _ := stage.Exports.Counts()
			return after > before, nil
		}},
	}
	for _, activity := range activitiesOfARun {
		deck = append(deck, Fault{Name: "workflow: reset to " + activity, Do: func(ctx context.Context, stage *Stage, random *rand.Rand) (bool, error) {
			return stage.Exports.reset(ctx, random, activity), nil
		}})
	}
	return deck
}

// inMidChunk finds a run that has a chunk under way; of one kind of destination, unless that is empty.
func (e *Exporter) inMidChunk(ctx context.Context, random *rand.Rand, destination string) *target {
	if found := e.someInMidChunk(ctx, random, destination, 1); len(found) > 0 {
		return found[0]
	}
	return nil
}

func (e *Exporter) someInMidChunk(ctx context.Context, random *rand.Rand, destination string, most int) (found []*target) {
	open := e.openRuns()
	random.Shuffle(len(open), func(i, k int) { open[i], open[k] = open[k], open[i] })
	for _, t := range open {
		if destination != "" && t.definition.Destination != destination {
			continue
		}
		if len(found) < most && e.writes(ctx, t.workflowID) {
			found = append(found, t)
		}
	}
	return found
}

// writing are the runs of which every execution still writes chunks, and none has come further and was set back or ended.
func (e *Exporter) writing(ctx context.Context) map[string]bool {
	writing := map[string]bool{}
	for _, t := range e.openRuns() {
		apart := false
		e.note(func() { apart = e.wasReset[t.name()] || t.again })
		if apart || !e.writes(ctx, t.workflowID) {
			continue
		}
		twin, err := e.starter.Temporal.DescribeWorkflowExecution(ctx, twinOf(t), "")
		if err == nil && twin.WorkflowExecutionInfo.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING && !e.writes(ctx, twinOf(t)) {
			continue
		}
		writing[t.name()] = true
	}
	return writing
}

func (e *Exporter) writes(ctx context.Context, workflow string) bool {
	description, err := e.starter.Temporal.DescribeWorkflowExecution(ctx, workflow, "")
	if err != nil {
		return false
	}
	for _, pending := range description.PendingActivities {
		if pending.ActivityType.GetName() == "WriteChunk" && pending.State == enumspb.PENDING_ACTIVITY_STATE_STARTED {
			return true
		}
	}
	return false
}

// mostLookedAt bounds the histories that are read for a reset.
const mostLookedAt = 12

// reset takes a run, open or ended, back to just before a step.
func (e *Exporter) reset(ctx context.Context, random *rand.Rand, activity string) bool {
	candidates := e.openRuns()
	e.note(func() { candidates = append(candidates, e.done[max(0, len(e.done)-10):]...) })
	random.Shuffle(len(candidates), func(i, k int) { candidates[i], candidates[k] = candidates[k], candidates[i] })
	for _, t := range candidates[:min(mostLookedAt, len(candidates))] {
		description, err := e.starter.Temporal.DescribeWorkflowExecution(ctx, t.workflowID, "")
		if err != nil {
			continue
		}
		run := description.WorkflowExecutionInfo.Execution.RunId
		at := int64(0)
		events := e.starter.Temporal.GetWorkflowHistory(ctx, t.workflowID, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for at == 0 && events.HasNext() {
			event, err := events.Next()
			if err != nil {
				break
			}
			if scheduled := event.GetActivityTaskScheduledEventAttributes(); scheduled.GetActivityType().GetName() == activity {
				at = scheduled.WorkflowTaskCompletedEventId
			}
		}
		if at == 0 {
			continue
		}
		_, err = e.starter.Temporal.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
			Namespace: e.namespace, RequestId: uuid.NewString(), Reason: "by the crash harness", WorkflowTaskFinishEventId: at,
			WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: t.workflowID, RunId: run},
		})
		if err == nil {
			e.note(func() { e.wasReset[t.name()] = true; e.resets++ })
			return true
		}
	}
	return false
}

// mostCancelled runs are cancelled to bring a boundary about: one whose chunk is in the hands of a dead worker is tidied up only
// when he is missed.
const mostCancelled = 4

// cancels has runs of a destination cancelled while a chunk of each is under way, so that they are tidied up.
func cancels(destination string) func(context.Context, *Stage, *rand.Rand, string) ([]*Service, error) {
	return func(ctx context.Context, stage *Stage, random *rand.Rand, list string) ([]*Service, error) {
		armed := stage.arm(list)
		cancelled := 0
		for _, t := range stage.Exports.someInMidChunk(ctx, random, destination, mostCancelled) {
			if stage.Exports.starter.Temporal.CancelWorkflow(ctx, t.workflowID, "") == nil {
				cancelled++
			}
		}
		if cancelled == 0 {
			stage.disarm(armed)
			return nil, nil
		}
		return armed, nil
	}
}
