package export

import (
	"cmp"
	"time"
)

// EstimateTask is the input of the Estimate workflow.
type EstimateTask struct {
	Definition Definition `json:"definition"`
	// Start and End are the range, boundaries of the export's grid. Both left out, it is the last interval that has ended by
	// ClickHouse's clock, or with Past what a Backfill without them takes.
	Start *time.Time `json:"start,omitempty"`
	End   *time.Time `json:"end,omitempty"`
	// Past has a range of which an end is left out begin and end as that of a Backfill: with the interval that has the earliest
	// row of `events`, and with the last interval that has ended.
	Past bool `json:"past,omitempty"`
	// Step is that of a Backfill, for which Past must be set.
	Step Duration `json:"step,omitempty"`
	// Redo has what is published counted as left, too: the range is exported again.
	Redo bool `json:"redo,omitempty"`
	// Sample asks for some rows as well. They travel through Temporal's history, as whatever a workflow answers.
	Sample bool `json:"sample,omitempty"`
}

// ParseEstimate reads the JSON of an EstimateTask, fills in what was left out, and checks what can be checked without a clock.
// A field that nobody knows is refused.
func ParseEstimate(data []byte) (EstimateTask, error) {
	task, err := readInput[EstimateTask](data, "an estimate", `{"definition": {…}, "start": "2026-11-23T10:00:00Z", "end": "2026-11-23T11:00:00Z"}`)
	if err != nil {
		return task, err
	}
	task.Definition = task.Definition.WithDefaults()
	return task, task.Validate()
}

// Validate says what is wrong with a task whose definition has its defaults, as far as that can be told without a clock.
func (t EstimateTask) Validate() error {
	if t.Start != nil && t.End != nil {
		if err := t.CheckLength(Interval{Start: *t.Start, End: *t.End}); err != nil {
			return err
		}
	}
	if t.Past {
		return t.backfill().WithDefaults().Validate()
	}
	if t.Step != 0 {
		return Errorf(KindConfig, "step: %q is for the runs of a backfill: set past, or leave it out", t.Step)
	}
	if err := t.Definition.Validate(); err != nil {
		return err
	}
	span, err := Input{Definition: t.Definition, Start: t.Start, End: t.End}.Interval()
	if err != nil || span == nil {
		return err
	}
	grid, err := t.Definition.Grid()
	if err == nil {
		_, err = grid.Split(*span)
	}
	return err
}

// CheckLength refuses a range of more intervals than are estimated at a time, before anybody cuts it.
func (t EstimateTask) CheckLength(span Interval) error {
	every := cmp.Or(t.Step, t.Definition.Every)
	if every > 0 && span.Length()/time.Duration(every) > MaxEstimated {
		return Errorf(KindConfig, "%s has more than %d intervals of %s, which is what is estimated at a time: give a shorter range", span, MaxEstimated, every)
	}
	return nil
}

// Cut cuts a range into what one run each is asked for.
func (t EstimateTask) Cut(span Interval) ([]Interval, error) { return t.backfill().Cut(span) }

func (t EstimateTask) backfill() Backfill {
	return Backfill{Definition: t.Definition, Start: t.Start, End: t.End, Step: t.Step}
}

// Range is the task's range in words.
func (t EstimateTask) Range() string {
	from, to := "the last interval", ""
	if t.Past {
		from, to = "the earliest row", "now"
	}
	if t.Start != nil {
		from = t.Start.UTC().Format(time.RFC3339)
	}
	if t.End != nil {
		to = t.End.UTC().Format(time.RFC3339)
	}
	if to == "" {
		return from
	}
	return from + "–" + to
}

// Bounds of an estimate.
const (
	// MaxEstimated is how many intervals an estimate is of at most.
	MaxEstimated = 250_000
	// SampleRows is how many rows a sample has at most.
	SampleRows = 10
	// SampleText is how many letters of a value a sample shows.
	SampleText = 120
)

// Estimate is what the runs of a range would read and write, if nothing of it were published yet. It is made by the planner
// of the runs themselves, and what is not planned or counted says by which figures it was found.
type Estimate struct {
	Export string   `json:"export"`
	Span   Interval `json:"span"`
	// Intervals is how many runs the range has, and Empty how many of them have no row.
	Intervals int `json:"intervals"`
	Empty     int `json:"empty"`
	// Rows are counted by ClickHouse. ValueBytes is about how many bytes of values they have before encoding.
	Rows       uint64 `json:"rows"`
	ValueBytes uint64 `json:"value_bytes"`
	// Chunks is how many chunks the runs have, and Files how many objects or tables they are written into: one for each. They
	// are exact when ChunksPlanned, and otherwise PlannedIntervals were planned and the others have as many for their size.
	Chunks           int  `json:"chunks"`
	Files            int  `json:"files"`
	ChunksPlanned    bool `json:"chunks_planned"`
	PlannedIntervals int  `json:"planned_intervals"`
	// Bytes is what the ledger calls bytes: the sizes of the files, or of the text that a database is sent. BytesFrom says by
	// what it was found, and Encoded what was really encoded for it.
	Bytes     uint64    `json:"bytes"`
	BytesFrom BytesFrom `json:"bytes_from"`
	Encoded   Encoded   `json:"encoded,omitzero"`
	// Source is what ClickHouse reads for it, each time that it is read: to plan, to write, to hash, and to read back.
	Source SourceRead `json:"source"`
	// Duration is how long the runs take that are left, one after the other; nil when none is left, or when the ledger knows of none
	// that had rows.
	Duration *Forecast `json:"duration,omitempty"`
	// Published is what the ledger has as published in the range: such runs end at once and write nothing. Left are the others.
	Published PublishedRuns `json:"published"`
	Left      RunsLeft      `json:"left"`
	// Incomplete says why rows may still be added to the range; empty when it is complete.
	Incomplete string `json:"incomplete,omitempty"`
	// Destination is how the rows would stand there.
	Destination Arrangement `json:"destination"`
	// Sample has some rows, when they were asked for.
	Sample *RowSample `json:"sample,omitempty"`
	// Notes say what else is worth knowing, in sentences.
	Notes []string `json:"notes,omitempty"`
}

// BytesFrom is by what the bytes of an estimate were found.
type BytesFrom string

// The ways, the best first.
const (
	// BytesEncoded: all of it was encoded, and thrown away.
	BytesEncoded BytesFrom = "encoded"
	// BytesSample: some of it was encoded.
	BytesSample BytesFrom = "sample"
	// BytesLedger: rows of the latest published runs of the same definition had so many.
	BytesLedger BytesFrom = "ledger"
	// BytesValues: nothing better is known, and it is ValueBytes.
	BytesValues BytesFrom = "values"
)

// Encoded is what ClickHouse has encoded for an estimate.
type Encoded struct {
	// Chunks are whole chunks, or pieces of large ones.
	Chunks int    `json:"chunks"`
	Rows   uint64 `json:"rows"`
	Bytes  uint64 `json:"bytes"`
}

// SourceRead is what ClickHouse expects to read of its tables.
type SourceRead struct {
	// Rows are those that it would read, Total those of the tables.
	Rows  uint64 `json:"rows"`
	Total uint64 `json:"total"`
	// Tables are those that are estimated; none when all of their parts are ruled out, or of engines that are not estimated.
	Tables []string `json:"tables"`
}

// PublishedRuns is what the ledger has as published in a range.
type PublishedRuns struct {
	Runs  int    `json:"runs"`
	Rows  uint64 `json:"rows"`
	Bytes uint64 `json:"bytes"`
}

// RunsLeft is what of a range the ledger does not have as published.
type RunsLeft struct {
	Runs int    `json:"runs"`
	Rows uint64 `json:"rows"`
}

// Arrangement is how rows would stand at a destination.
type Arrangement struct {
	Kind string `json:"kind"`
	// Place is where, in the destination's words: "table analytics.events".
	Place string `json:"place,omitempty"`
	// Format is how rows get there: the encoding of files, or of what a database is sent.
	Format Encoding `json:"format,omitzero"`
	// Columns are the exported columns with their types there.
	Columns []PlacedColumn `json:"columns"`
	// Problem says what is in the way of a run, in the words that the run would have; empty when nothing was found.
	Problem string `json:"problem,omitempty"`
}

// PlacedColumn is a column at a destination.
type PlacedColumn struct {
	Name string `json:"name"`
	// Source is ClickHouse's type.
	Source string `json:"source"`
	// Type is the type at the destination; where that has none of its own, as in files, it is ClickHouse's.
	Type string `json:"type"`
}

// RowSample are some rows of a range.
type RowSample struct {
	// Rows have a value for each column of the Arrangement, in their order, as text; nil is NULL.
	Rows [][]*string `json:"rows"`
	// Cut counts the values of which only the first SampleText letters are shown.
	Cut int `json:"cut"`
}
