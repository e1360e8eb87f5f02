//go:build world

package assumptions

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/millrace/millrace/internal/testworld"
	"github.com/millrace/millrace/internal/testworld/testtemporal"
)

// The dev server survives callers who go away in the middle of a call. With the SQLite driver that it comes with (1.34), one
// query that is broken off after its first row is left open, every statement after it is "interrupted", and the server
// answers nobody any more. tools/temporal builds it with a newer one.
func TestACancelledCallLeavesTheServerAnswering(t *testing.T) {
	made := testtemporal.New(t)
	random := testworld.Rand(t)
	const callers, calls = 8, 400
	var all sync.WaitGroup
	for range callers {
		var patience []time.Duration
		for range calls {
			patience = append(patience, time.Duration(random.IntN(3000))*time.Microsecond)
		}
		all.Go(func() {
			for _, enough := range patience {
				ctx, cancel := context.WithTimeout(t.Context(), enough)
				_, _ = made.Client.WorkflowService().ListNamespaces(ctx, &workflowservice.ListNamespacesRequest{PageSize: 100})
				cancel()
			}
		})
	}
	all.Wait()
	testtemporal.New(t)
}
