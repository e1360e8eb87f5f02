// Package testtemporal gives a test a namespace of its own in the Temporal server of its world.
package testtemporal

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/millrace/millrace/internal/testworld"
)

// Namespace is a namespace that one test has for itself, without any search attribute.
type Namespace struct {
	// Name is the namespace's name.
	Name string
	// Address is the server's, as host:port.
	Address string
	// Client is connected to the namespace, quiet, and closed when the test ends.
	Client client.Client
}

// New registers a namespace and waits until the server serves it. It is not removed: the world is thrown away.
func New(t testing.TB) Namespace {
	t.Helper()
	made := Namespace{Name: testworld.Name(t), Address: testworld.Env(t, "TEMPORAL_ADDRESS")}
	namespaces, err := client.NewNamespaceClient(client.Options{HostPort: made.Address, Logger: Quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	defer namespaces.Close()
	if err := namespaces.Register(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: made.Name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	made.Client, err = client.Dial(client.Options{HostPort: made.Address, Namespace: made.Name, Logger: Quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Client.Close)
	// The server's parts see a new namespace some moments after it was registered.
	testworld.Eventually(t, 30*time.Second, func() error {
		_, err := made.Client.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{})
		return err
	})
	return made
}

// Cleanup is a context for what a test does after its own has ended.
func Cleanup(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Quiet is a logger of the SDK's that says nothing: what matters to a test, it asks.
type Quiet struct{}

// Debug says nothing.
func (Quiet) Debug(string, ...any) {}

// Info says nothing.
func (Quiet) Info(string, ...any) {}

// Warn says nothing.
func (Quiet) Warn(string, ...any) {}

// Error says nothing.
func (Quiet) Error(string, ...any) {}
