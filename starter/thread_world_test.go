//go:build world

package starter

import (
	"testing"

	"github.com/millrace/millrace/internal/namespace"
	"github.com/millrace/millrace/internal/testworld/testtemporal"
	"github.com/millrace/millrace/workflows"
)

// newStarter is in a namespace of the test's own, which is set up.
func newStarter(t *testing.T) *Starter {
	t.Helper()
	made := testtemporal.New(t)
	if _, err := namespace.Create(t.Context(), made.Client, made.Name, workflows.SearchAttributes()); err != nil {
		t.Fatal(err)
	}
	return &Starter{Temporal: made.Client, Namespace: made.Name}
}
