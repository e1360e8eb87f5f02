package export

import "time"

// Input is the input of the Export workflow: a definition and, when the run is not the schedule's, its interval.
type Input struct {
	Definition
	// Start and End are both nil for a run of the schedule, and both set otherwise.
	Start *time.Time
	End   *time.Time
	// Backfill is the workflow id of the backfill that started the run, which then gives way to live runs; empty for others.
	Backfill string
	// Redo asks for the next revision of an interval that is published; nil for most. It goes with Start and End.
	Redo *Redo
}

// inputOfRun are the fields of Input that a definition has not.
type inputOfRun struct {
	Start      *time.Time `json:"start,omitempty"`
	End        *time.Time `json:"end,omitempty"`
	Backfill   string     `json:"backfill,omitempty"`
	RedoBefore *time.Time `json:"redo_before,omitempty"`
	RedoReason string     `json:"redo_reason,omitempty"`
}

// runFields are their names.
var runFields = []string{"start", "end", "backfill", "redo_before", "redo_reason"}

// Interval is the interval that was asked for, or nil when the schedule decides.
func (in Input) Interval() (*Interval, error) {
	switch {
	case in.Start == nil && in.End == nil && in.Redo != nil:
		return nil, Errorf(KindConfig, "redo_before is given without start and end: say which interval is to be exported again, as RFC 3339 times")
	case in.Start == nil && in.End == nil:
		return nil, nil
	case in.Start == nil:
		return nil, Errorf(KindConfig, "end is given without start: give both, or neither for the schedule's interval")
	case in.End == nil:
		return nil, Errorf(KindConfig, "start is given without end: give both, or neither for the schedule's interval")
	}
	return &Interval{Start: in.Start.UTC(), End: in.End.UTC()}, nil
}

// MarshalJSON writes the definition's fields, the destination's block, start and end side by side.
func (in Input) MarshalJSON() ([]byte, error) {
	run := inputOfRun{Start: in.Start, End: in.End, Backfill: in.Backfill}
	if in.Redo != nil {
		run.RedoBefore, run.RedoReason = &in.Redo.Before, in.Redo.Reason
	}
	return marshalDefinition(in.Definition, run)
}

// UnmarshalJSON reads what MarshalJSON writes and refuses fields that nobody knows.
func (in *Input) UnmarshalJSON(data []byte) error {
	var run inputOfRun
	if err := unmarshalDefinition(data, &in.Definition, &run); err != nil {
		return err
	}
	in.Start, in.End, in.Backfill = run.Start, run.End, run.Backfill
	var err error
	in.Redo, err = NewRedo(run.RedoBefore, run.RedoReason)
	return err
}
