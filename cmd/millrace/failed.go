package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/config"
	"github.com/millrace/millrace/starter"
)

// failedRun is a failure in the ledger that is to be mended.
type failedRun struct {
	Revision   int         `json:"revision"`
	WorkflowID string      `json:"workflow_id"`
	At         time.Time   `json:"at"`
	Kind       export.Kind `json:"error_kind"`
	Error      string      `json:"error"`
}

// runFailed repeats the runs of an export that failed, as far as their intervals lie within a range.
func (p *program) runFailed(ctx context.Context, name string, within export.Interval, parallel int, detach bool) error {
	if _, err := needs(config.VarClickHouseURL, config.VarClickHouseHTTPURL); err != nil {
		return err // before anything else is asked
	}
	return p.withStarter(ctx, func(t *temporal, s *starter.Starter) error {
		definition, err := s.Definition(ctx, name)
		if err != nil {
			return err
		}
		var rows []eventstore.LedgerRow
		var published []export.Interval
		if err := readLedger(ctx, func(store *eventstore.Store) (err error) {
			rows, err = store.Runs(ctx, eventstore.RunFilter{Export: name, Within: within, Failed: true, Limit: maxIntervals + 1})
			if err == nil {
				published, err = publishedAround(ctx, store, name, rows)
			}
			return err
		}); err != nil {
			return err
		}
		if len(rows) > maxIntervals {
			return usagef("more than %s intervals of %s failed, which is what one call takes: narrow them with --start and --end; `millrace runs %s --failed` lists them",
				count(maxIntervals), name, name)
		}
		order := runOrder{definition: definition, parallel: parallel, detach: detach, repeats: map[string]*failedRun{}}
		grid, err := definition.Grid()
		if err != nil {
			return err
		}
		slices.Reverse(rows) // the ledger has the latest first
		for _, row := range rows {
			interval := row.Run.Interval
			if err := grid.OnGrid(interval); err != nil {
				fmt.Fprintf(p.err, "left out: %s failed, and is no interval of the export's grid (%s) by now: `millrace run %s --start … --end …` exports what it spans\n", interval, grid, name)
				continue
			}
			if export.Classify([]export.Interval{interval}, export.Known{Published: published})[0].State == export.StateProved {
				continue // by runs of other lengths
			}
			order.intervals = append(order.intervals, interval)
			order.repeats[interval.Key()] = &failedRun{
				Revision: row.Run.Revision, WorkflowID: row.WorkflowID, At: row.RecordedAt, Kind: row.ErrorKind, Error: row.Error,
			}
		}
		p.tellFailed(order)
		if len(order.intervals) == 0 && !p.json {
			return nil
		}
		return p.runIntervals(ctx, t, s, order)
	})
}

// publishedAround reads which intervals, of whatever length, the ledger has as published where others have failed.
func publishedAround(ctx context.Context, store *eventstore.Store, name string, failed []eventstore.LedgerRow) ([]export.Interval, error) {
	if len(failed) == 0 {
		return nil, nil
	}
	span := failed[0].Run.Interval
	for _, row := range failed {
		if row.Run.Start.Before(span.Start) {
			span.Start = row.Run.Start
		}
		if row.Run.End.After(span.End) {
			span.End = row.Run.End
		}
	}
	recorded, err := store.RecordedWithin(ctx, name, span)
	var published []export.Interval
	for _, one := range recorded {
		if one.Published > 0 {
			published = append(published, one.Interval)
		}
	}
	return published, err
}

// tellFailed lists for people what is about to be repeated.
func (p *program) tellFailed(order runOrder) {
	if p.json {
		return
	}
	if len(order.intervals) == 0 {
		fmt.Fprintf(p.err, "nothing of %s is to be repeated: no interval's last run failed\n", order.definition.Name)
		return
	}
	fmt.Fprintf(p.err, "%s of %s failed, and will be repeated:\n", plural(len(order.intervals), "interval"), order.definition.Name)
	for _, interval := range order.intervals {
		failed := order.repeats[interval.Key()]
		fmt.Fprintf(p.err, "  %s %s: %s\n", interval, failed.Kind, failed.Error)
	}
}
