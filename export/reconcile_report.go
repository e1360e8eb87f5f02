package export

// Reconciled is what was found of the intervals of a range.
type Reconciled struct {
	// States counts the intervals in each state.
	States map[IntervalState]int `json:"states"`
	// Standings are the first MaxListed that are not proved.
	Standings []Standing `json:"not_proved,omitempty"`
	// Restored counts the published runs that the ledger did not have, and whose rows were written again from their manifests;
	// Records are the first MaxListed.
	Restored int   `json:"restored"`
	Records  []Run `json:"records,omitempty"`
	// Holes is from the start of the first to the end of the last interval that failed or is missing; nil when none is.
	Holes *Interval `json:"holes,omitempty"`
}

// Count counts an interval.
func (r *Reconciled) Count(standing Standing) {
	if r.States == nil {
		r.States = map[IntervalState]int{}
	}
	r.States[standing.State]++
	if standing.State != StateProved && len(r.Standings) < MaxListed {
		r.Standings = append(r.Standings, standing)
	}
	if standing.State.Hole() {
		r.hole(standing.Interval)
	}
}

// Restore counts a record that was written again.
func (r *Reconciled) Restore(run Run) {
	r.Restored++
	if len(r.Records) < MaxListed {
		r.Records = append(r.Records, run)
	}
}

func (r *Reconciled) hole(interval Interval) {
	if r.Holes == nil {
		r.Holes = &Interval{Start: interval.Start}
	}
	r.Holes.End = interval.End
}

// Add adds what was found of the range that follows.
func (r *Reconciled) Add(later Reconciled) {
	if r.States == nil {
		r.States = map[IntervalState]int{}
	}
	for _, state := range IntervalStates() {
		if count := later.States[state]; count > 0 {
			r.States[state] += count
		}
	}
	r.Standings = append(r.Standings, later.Standings[:min(len(later.Standings), MaxListed-len(r.Standings))]...)
	r.Restored += later.Restored
	r.Records = append(r.Records, later.Records[:min(len(later.Records), MaxListed-len(r.Records))]...)
	if later.Holes != nil {
		r.hole(*later.Holes)
	}
}

// Change is in which way a published run is not what it was.
type Change string

// The changes.
const (
	// ChangeDrift: ClickHouse's rows of the interval are not those that were exported.
	ChangeDrift Change = "drift"
	// ChangeAltered: what lies at the destination is not what was written there.
	ChangeAltered Change = "altered"
	// ChangeRemoved: something of the run is gone from the destination.
	ChangeRemoved Change = "removed"
	// ChangeUntold: it cannot be told; nothing was found that differs.
	ChangeUntold Change = "untold"
)

// Changes are all changes, in the order in which they are told.
func Changes() []Change { return []Change{ChangeDrift, ChangeAltered, ChangeRemoved, ChangeUntold} }

// Finding is something about a published run that is not what it was.
type Finding struct {
	Run    Run    `json:"run"`
	Change Change `json:"change"`
	// Ledger is what the run had when it was published, and Now what ClickHouse has; set of drift.
	Ledger *Content `json:"ledger,omitempty"`
	Now    *Content `json:"now,omitempty"`
	// Chunk is the chunk at the destination, -1 when it is not about one, and Location where that lies.
	Chunk    int    `json:"chunk"`
	Location string `json:"location,omitempty"`
	// What says it in a sentence.
	What string `json:"what"`
}

// ReconcileReport is the result of the Reconcile workflow.
type ReconcileReport struct {
	Export string   `json:"export"`
	Span   Interval `json:"span"`
	// Intervals is how many the range has, the sum of States.
	Intervals int `json:"intervals"`
	Reconciled
	// Published is how many published runs lie in the range, and Compared how many of them were compared.
	Published int `json:"published"`
	Compared  int `json:"compared"`
	// Changed counts the runs with each change, and Findings are the first MaxListed, by time.
	Changed  map[Change]int `json:"changed"`
	Findings []Finding      `json:"findings,omitempty"`
	// ChangedRuns counts the runs that are not what they were, in whatever way, and Healed those of them that Revise has exported
	// again; Revisions are the first MaxListed that were tried.
	ChangedRuns int        `json:"changed_runs"`
	Healed      int        `json:"healed"`
	Revisions   []Revision `json:"revisions,omitempty"`
	// Leftovers is what Leftovers or Remove found; nil when neither was asked for.
	Leftovers *Leftovers `json:"leftovers,omitempty"`
	// Filling is what Fill has started; nil when nothing was to be filled, or that was not asked for.
	Filling *Filling `json:"filling,omitempty"`
}

// Revision is a run that Revise has exported again, or failed to.
type Revision struct {
	// Run is the one that was not what it was any more.
	Run Run `json:"run"`
	// Reason says in which way; it stands in the plan and in the ledger, too.
	Reason string `json:"reason"`
	// Revision is what readers take in its stead, and Rows is its rows; 0 when it failed. It is Run's own where nothing but
	// its manifest was gone.
	Revision int    `json:"revision,omitempty"`
	Rows     uint64 `json:"rows"`
	// Kind and Error say why it failed; empty when it did not.
	Kind  Kind   `json:"error_kind,omitempty"`
	Error string `json:"error,omitempty"`
}

// Filling is the backfill that fills what is missing and what has failed.
type Filling struct {
	WorkflowID string   `json:"workflow_id"`
	Span       Interval `json:"span"`
	// Note says why none was started: another one of the export is under way. Empty otherwise.
	Note string `json:"note,omitempty"`
}

// Whole tells that nothing is missing, failed or not what it was, but for what was healed.
func (r ReconcileReport) Whole() bool {
	return r.Holes == nil && r.ChangedRuns == r.Healed
}

// NotHealed counts what was found and is not healed, by the word for it: the states that are holes, the changes, and "leftovers"
// that were not removed. Nothing that is 0 is in it. Of runs with a change that were healed in part, all are told.
func (r ReconcileReport) NotHealed() map[string]int {
	found := map[string]int{}
	count := func(word string, n int) {
		if n > 0 {
			found[word] = n
		}
	}
	for _, state := range IntervalStates() {
		if state.Hole() {
			count(string(state), r.States[state])
		}
	}
	if r.Healed < r.ChangedRuns {
		for _, change := range Changes() {
			if change != ChangeUntold {
				count(string(change), r.Changed[change])
			}
		}
	}
	if r.Leftovers != nil {
		count("leftovers", r.Leftovers.Found-r.Leftovers.Removed)
	}
	return found
}

// Found counts what was found of one run. When it is not what it was any more, the answer says why in a sentence.
func (r *ReconcileReport) Found(findings []Finding) (reason string) {
	seen := map[Change]bool{}
	for _, finding := range findings {
		if finding.Change != ChangeUntold && reason == "" {
			reason = string(finding.Change) + ": " + finding.What
			r.ChangedRuns++
		}
		if !seen[finding.Change] {
			seen[finding.Change] = true
			r.Changed[finding.Change]++
		}
		if len(r.Findings) < MaxListed {
			r.Findings = append(r.Findings, finding)
		}
	}
	return reason
}

// Revised counts a run that was exported again, or was to be.
func (r *ReconcileReport) Revised(revision Revision) {
	if revision.Error == "" {
		r.Healed++
	}
	if len(r.Revisions) < MaxListed {
		r.Revisions = append(r.Revisions, revision)
	}
}
