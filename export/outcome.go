package export

// Status is how a run ended, or where it stands.
type Status string

// The statuses that an Export workflow ends with when it does not fail.
const (
	// StatusPublished: this workflow published the run.
	StatusPublished Status = "published"
	// StatusAlreadyDone: the run was published before, by another workflow; nothing was written.
	StatusAlreadyDone Status = "already_done"
	// StatusSuperseded: another workflow closed the revision that this one worked, and works the next by another
	// definition; nothing of this one's was published.
	StatusSuperseded Status = "superseded"
)

// Outcome is the result of the Export workflow.
type Outcome struct {
	Status Status `json:"status"`
	Publication
	// Note says what a person should know, such as that the definition has changed since the run was published.
	Note string `json:"note,omitempty"`
}

// Progress is the answer of the query "progress".
type Progress struct {
	// Step is what the run is at: "finding", "waiting", "claiming" (only of a run over several intervals of the grid), "planning", "preparing", "writing", "showing" (only
	// of a run whose files appear in order), "proving", "publishing",
	// "closing", "recording", "done".
	Step string `json:"step"`
	Run  Run    `json:"run"`
	// ChunksDone of Chunks are written, and so are RowsDone of Rows; all 0 before there is a plan.
	ChunksDone int    `json:"chunks_done"`
	Chunks     int    `json:"chunks"`
	RowsDone   uint64 `json:"rows_done"`
	Rows       uint64 `json:"rows"`
	BytesDone  uint64 `json:"bytes_done"`
}
