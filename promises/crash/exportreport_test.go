//go:build crash

package crash

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
)

// sentence looks at what only holds when everything is published: every run is, in the ledger too; no workflow failed that
// nobody spoiled; and no query of an export runs any more.
func (p *exportPlay) sentence(ctx context.Context) (faults []string, err error) {
	recorded := map[string]bool{}
	rows, err := p.rows.Query(ctx, "SELECT export, interval_start FROM ledger FINAL WHERE status = 'published' LIMIT 1 BY export, interval_start")
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	for rows.Next() {
		var name string
		var start time.Time
		if err := rows.Scan(&name, &start); err != nil {
			return nil, err
		}
		recorded[name+start.UTC().String()] = true
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for _, t := range p.Exports.publishedRuns() {
		is := t.definition.Destination == "postgres" && p.tables.Published(t)
		if t.definition.Destination == "s3" {
			if is, err = p.files.Published(ctx, t); err != nil {
				return nil, err
			}
		}
		if !is {
			faults = append(faults, fmt.Sprintf("%s ended as %s, and is not published", t.name(), t.outcome.Status))
		}
		if !recorded[t.definition.Name+t.interval.Start.UTC().String()] {
			faults = append(faults, t.name()+" is published, and not in the ledger")
		}
	}
	failed, err := p.failedUnexplained(ctx)
	if err != nil {
		return nil, err
	}
	faults = append(faults, failed...)
	queries, err := p.queriesLeft(ctx)
	return append(faults, queries...), err
}

func (p *exportPlay) failedUnexplained(ctx context.Context) (faults []string, err error) {
	answer, err := p.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: p.namespace, Query: "ExecutionStatus = 'Failed' AND WorkflowType = 'Export'", PageSize: 1000,
	})
	if err != nil {
		return nil, fmt.Errorf("list the failed workflows: %w", err)
	}
	spoiled := p.Exports.Spoiled()
	for _, execution := range answer.Executions {
		if id := execution.Execution.WorkflowId; !spoiled[strings.TrimPrefix(id, "twin-")] {
			failure := p.temporal.GetWorkflow(ctx, id, execution.Execution.RunId).Get(ctx, nil)
			faults = append(faults, fmt.Sprintf("workflow %s failed, and nobody spoiled it: %v", id, failure))
		}
	}
	return faults, nil
}

// queriesEndWithin is how long a query may go on whose worker is dead.
const queriesEndWithin = time.Minute

// queriesLeft are the queries of exports that do not come to an end. Those of schedules come and go.
func (p *exportPlay) queriesLeft(ctx context.Context) ([]string, error) {
	seen := map[string]bool{}
	for began := time.Now(); ; wait(ctx, 200*time.Millisecond) {
		var running []string
		err := p.rows.QueryRow(ctx, "SELECT groupArray(query_id || ' ' || Settings['log_comment']) FROM system.processes WHERE current_database = currentDatabase() AND startsWith(Settings['log_comment'], 'millrace ')").Scan(&running)
		if err != nil {
			return nil, fmt.Errorf("read the running queries: %w", err)
		}
		left := map[string]bool{}
		for _, query := range running {
			if len(seen) == 0 || seen[query] {
				left[query] = true
			}
		}
		if len(left) == 0 {
			return nil, nil
		}
		seen = left
		if time.Since(began) > queriesEndWithin {
			return []string{fmt.Sprintf("ClickHouse still runs %v", left)}, nil
		}
	}
}

// watchTemporal has Temporal started again when it answers no more, until the test ends.
func (p *exportPlay) watchTemporal(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		WatchTemporal(ctx, p.World, silentAtMost, func(ctx context.Context) error {
			_, err := p.temporal.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: p.namespace})
			return err
		}, os.Stdout)
	})
	t.Cleanup(func() { stop(); watching.Wait() })
}

func (p *exportPlay) reportExports(t *testing.T, tally *Tally) {
	t.Helper()
	fmt.Println()
	tally.Print(os.Stdout, ExportBoundaries())
	fmt.Println()
	p.Phases.Print(os.Stdout)
	published, twins, again := p.Exports.Counts()
	files, uploads, err := p.files.Unnamed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	staging, err := p.tables.Unnamed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	starts := 0
	for _, s := range p.Workers {
		starts += s.Starts()
	}
	fmt.Printf("\n%d runs were begun and are published, in %d manifests and %d tables; %d had a second execution at once, %d were started again after a cancel or a terminate, %d reset\n",
		published, p.files.Checked, len(p.tables.published), twins, again, p.Exports.resets)
	fmt.Printf("%d revisions were closed at the store; %d processes of workers were started\n", p.files.Closed, starts)
	fmt.Printf("%d uploads were left behind for sweeps to take back\n", p.Places.left.Load())
	fmt.Printf("kills have left %d files that no manifest names, %d open uploads and %d staging tables\n", files, uploads, staging)
	fmt.Println("every published interval has the rows that the events have, once; no other rows are published")
}
