//go:build world

package assumptions

import (
	"context"
	"fmt"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testtemporal"
)

// queue is the task queue of these tests; each has a namespace of its own, so one name is enough.
const queue = "assumptions"

// temporalNamespace registers a namespace for one test and connects to it.
func temporalNamespace(t *testing.T) client.Client {
	t.Helper()
	made := testtemporal.New(t)
	namespaceOf[made.Client] = made.Name
	return made.Client
}

// namespaceOf has the namespace of each client, for calls below the SDK. The tests run one after the other.
var namespaceOf = map[client.Client]string{}

// work runs a worker with these workflows and activities, by name, until the test ends.
func work(t *testing.T, c client.Client, workflows, activities map[string]any) {
	t.Helper()
	w := worker.New(c, queue, worker.Options{WorkerStopTimeout: 10 * time.Second})
	register(w, workflows, activities)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

func eventually(t *testing.T, condition func() error) {
	t.Helper()
	testworld.Eventually(t, 30*time.Second, condition)
}

// executions lists all executions of the namespace, newest first, once there are at least as many as wanted.
func executions(t *testing.T, c client.Client, wanted int) []execution {
	t.Helper()
	var found []execution
	eventually(t, func() error {
		answer, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
		if err != nil {
			return err
		}
		found = nil
		for _, e := range answer.Executions {
			found = append(found, execution{id: e.Execution.WorkflowId, run: e.Execution.RunId, status: e.Status})
		}
		if len(found) < wanted {
			return fmt.Errorf("%d executions of %d are visible", len(found), wanted)
		}
		return nil
	})
	return found
}

type execution struct {
	id, run string
	status  enumspb.WorkflowExecutionStatus
}

// sayStart is a workflow that answers with its nominal start time.
func sayStart(ctx workflow.Context) (time.Time, error) {
	at, _ := workflow.GetTypedSearchAttributes(ctx).GetTime(temporal.NewSearchAttributeKeyTime("TemporalScheduledStartTime"))
	return at, nil
}

func outcomeOf[T any](t *testing.T, c client.Client, id, run string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var value T
	if err := c.GetWorkflow(ctx, id, run).Get(ctx, &value); err != nil {
		t.Fatalf("workflow %s: %v", id, err)
	}
	return value
}

func TestTemporalSearchAttributesBelongToANamespace(t *testing.T) {
	c := temporalNamespace(t)
	other := temporalNamespace(t)
	_, err := c.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
		Namespace: namespaceOf[c], SearchAttributes: map[string]enumspb.IndexedValueType{"MillraceExport": enumspb.INDEXED_VALUE_TYPE_KEYWORD},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if !hasAttribute(t, c, "MillraceExport") {
			return fmt.Errorf("the attribute is not listed")
		}
		return nil
	})
	if hasAttribute(t, other, "MillraceExport") {
		t.Error("the other namespace has it too")
	}
}

func hasAttribute(t *testing.T, c client.Client, name string) bool {
	t.Helper()
	have, err := c.OperatorService().ListSearchAttributes(t.Context(), &operatorservice.ListSearchAttributesRequest{Namespace: namespaceOf[c]})
	if err != nil {
		t.Fatal(err)
	}
	_, found := have.GetCustomAttributes()[name]
	return found
}

// jsonPayloads is an input as the Temporal UI and its command line send it: JSON text, and an encoding beside it.
func jsonPayloads(text string) *commonpb.Payloads {
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(text)}}}
}

func register(w worker.Worker, workflows, activities map[string]any) {
	for name, function := range workflows {
		w.RegisterWorkflowWithOptions(function, workflow.RegisterOptions{Name: name})
	}
	for name, function := range activities {
		w.RegisterActivityWithOptions(function, activityNamed(name))
	}
}
