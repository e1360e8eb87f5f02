package export

import "time"

// Redo asks that what was published before an instant is exported again, as the next revision. What was published at that
// instant or later, or by a redo that asked for it, is left as it is: so asking twice by the same instant is asking once,
// whoever asks, also after a retry, a reset or a continue-as-new.
type Redo struct {
	Before time.Time `json:"before"`
	// Reason says why, in a sentence for people.
	Reason string `json:"reason"`
}

// DefaultRedoReason is the reason of a redo that gives none.
const DefaultRedoReason = "somebody asked for it"

// redoSkew is by how much the clock of who asks may be ahead of Temporal's.
const redoSkew = 5 * time.Minute

// NewRedo makes a redo of what was published before an instant, by the fields of a workflow's input; nil when none is asked for.
// An empty reason is DefaultRedoReason.
func NewRedo(before *time.Time, reason string) (*Redo, error) {
	switch {
	case before == nil && reason != "":
		return nil, Errorf(KindConfig, "redo_reason is given without redo_before: give the instant, as an RFC 3339 time; what was published before it is exported again")
	case before == nil:
		return nil, nil
	case reason == "":
		reason = DefaultRedoReason
	}
	return &Redo{Before: before.UTC(), Reason: reason}, nil
}

// Validate refuses an instant in the future: what will have been published by then cannot be known.
func (r *Redo) Validate(now time.Time) error {
	if r != nil && r.Before.After(now.Add(redoSkew)) {
		return Errorf(KindConfig, "redo_before %s is in the future, it is %s now: give the moment of asking, or an earlier one",
			r.Before.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// Asks tells whether a published run is to be exported again. A nil Redo asks for nothing. That a redo's own publication is
// none of those does not hang on two clocks that agree: it says by which instant it was asked for.
func (r *Redo) Asks(published Publication) bool {
	return r != nil && published.By.At.Before(r.Before) && (published.RedoBefore == nil || published.RedoBefore.Before(r.Before))
}

// Replaces is what a revision says that is to take the place of a published one.
func (r *Redo) Replaces(published Run) *Replacement {
	return &Replacement{Revision: published.Revision, Before: r.Before, Reason: r.Reason}
}

// WorkflowID is the id of the run that does a redo, of its own beside run's, for a run that is under way may be one that leaves
// alone what is published. Without a redo it is run's.
func (r *Redo) WorkflowID(run Run, g Grid) string {
	id := run.WorkflowID(g)
	if r != nil {
		id += "-redo-" + r.Before.UTC().Format(time.RFC3339Nano)
	}
	return id
}

// Replacement says in a plan and its manifest which published revision this one takes the place of, and why.
type Replacement struct {
	// Revision is the published one. It stays published until this one is.
	Revision int `json:"revision"`
	// Before is the instant of the redo that asked for it.
	Before time.Time `json:"before"`
	// Reason says why, in a sentence for people.
	Reason string `json:"reason"`
}

// TakesPlaceOf tells whether a plan may be worked though a run of its interval is published: it was made to take the place of
// that revision, or of a later one. Nobody plans over a published run otherwise.
func (p Plan) TakesPlaceOf(published Run) bool {
	return p.Replaces != nil && published.Revision <= p.Replaces.Revision
}
