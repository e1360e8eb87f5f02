package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// ChooseTask says which published runs of a range are to be compared.
type ChooseTask struct {
	Export string          `json:"export"`
	Span   export.Interval `json:"span"`
	Sample int             `json:"sample"`
	All    bool            `json:"all,omitempty"`
	// Day decides which runs a few of many are.
	Day time.Time `json:"day"`
}

// Chosen are the runs to be compared, by time.
type Chosen struct {
	// Published is how many published runs lie in the range.
	Published int          `json:"published"`
	Runs      []ComparedTo `json:"runs,omitempty"`
}

// ComparedTo is a run as the ledger has it.
type ComparedTo struct {
	Run export.Run `json:"run"`
	// Source is its rows as they were proved; nil when that was not computed.
	Source         *export.Content `json:"source,omitempty"`
	DefinitionHash string          `json:"definition_hash"`
}

// ChooseRuns reads in the ledger which published runs of a range are to be compared.
func (s *Steps) ChooseRuns(ctx context.Context, task ChooseTask) (Chosen, error) {
	defer alive(ctx)()
	published, err := s.Events.PublishedWithin(ctx, task.Export, task.Span)
	if err != nil {
		return Chosen{}, failure(ctx, err)
	}
	chosen := Chosen{Published: published.Runs}
	if task.All && published.Runs > export.MaxCompared {
		return chosen, failure(ctx, export.Errorf(export.KindConfig, "all: %s has %d published runs, at most %d are compared at a time: give a shorter range, or compare a sample", task.Span, published.Runs, export.MaxCompared))
	}
	wanted := task.Sample
	if task.All {
		wanted = published.Runs
	}
	rows, err := s.Events.PublishedAt(ctx, task.Export, task.Span, export.Spread(published.Runs, wanted, task.Export, task.Day))
	for _, row := range rows {
		chosen.Runs = append(chosen.Runs, ComparedTo{
			Run: export.Run{Export: task.Export, Interval: row.Interval, Revision: row.Published}, Source: row.Source, DefinitionHash: row.DefinitionHash,
		})
	}
	return chosen, failure(ctx, err)
}

// CompareTask is one published run to be compared.
type CompareTask struct {
	Definition export.Definition `json:"definition"`
	With       ComparedTo        `json:"with"`
}

// Comparison is what CompareRun found.
type Comparison struct {
	// Finding is drift, or why it cannot be told; nil when the rows are those that were exported.
	Finding *export.Finding `json:"finding,omitempty"`
	// Readable tells that what lies at the destination can be read again, by VerifyRun.
	Readable bool `json:"readable"`
}

// CompareRun has ClickHouse count and hash the rows that an interval has now, and holds that against what the ledger says that
// its run had. It reads and never writes.
func (s *Steps) CompareRun(ctx context.Context, task CompareTask) (Comparison, error) {
	defer alive(ctx)()
	run := task.With.Run
	destination, definition, err := s.open(ctx, task.Definition)
	if err != nil {
		return Comparison{}, failure(ctx, err)
	}
	_, files := destination.(destinations.ReadsBack)
	_, rows := destination.(destinations.ReadsPublished)
	answer := Comparison{Readable: files || rows}
	untold := func(format string, args ...any) (Comparison, error) {
		answer.Finding = &export.Finding{Run: run, Change: export.ChangeUntold, Chunk: -1, What: fmt.Sprintf(format, args...)}
		return answer, nil
	}
	switch {
	case task.With.Source == nil:
		return untold("%s: the ledger has no hash of its rows: a program before there were any has recorded it", run)
	case definition.Hash() != task.With.DefinitionHash:
		return untold("%s was exported by another definition than the export has now, so its rows cannot be hashed as they were", run)
	}
	if definition, err = s.describe(ctx, definition); err != nil {
		return answer, failure(ctx, err)
	}
	p := provedChunk{run: run, definition: definition, destination: destination}
	if err := p.compare(ctx); err != nil {
		return answer, failure(ctx, err)
	}
	now, err := s.contentNow(ctx, p)
	if err != nil {
		return answer, failure(ctx, err)
	}
	if was := *task.With.Source; now != was {
		why, err := p.incomparable(ctx)
		if err != nil {
			return answer, failure(ctx, err)
		}
		if why != "" {
			return untold("%s: %s", run, why)
		}
		answer.Finding = &export.Finding{Run: run, Change: export.ChangeDrift, Ledger: &was, Now: &now, Chunk: -1, What: fmt.Sprintf("%s was published with %s, ClickHouse has %s now", run, was, now)}
	}
	return answer, nil
}

// incomparable says why the hash of a published run cannot be that of its rows now, although these may be the same; empty when
// it can.
func (p *provedChunk) incomparable(ctx context.Context) (string, error) {
	manifest, err := p.destination.Published(ctx, p.run)
	if err != nil || manifest == nil {
		return "", err
	}
	columns, err := p.definition.Exported()
	if err != nil {
		return "", err
	}
	if !slices.Equal(columns, manifest.Exported()) {
		return "its columns have other types, or are others, than when it was exported", nil
	}
	if p.compared == nil {
		return "", nil
	}
	var not []string
	for _, column := range columns {
		if !slices.Contains(p.compared, column) {
			not = append(not, column.Name)
		}
	}
	then := slices.Clone(manifest.Proof.NotCompared)
	slices.Sort(not)
	slices.Sort(then)
	if !slices.Equal(not, then) {
		return fmt.Sprintf("other columns are compared now than then: not now [%s], not then [%s]", strings.Join(not, ", "), strings.Join(then, ", ")), nil
	}
	return "", nil
}
