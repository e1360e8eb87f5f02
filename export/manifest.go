package export

import "time"

// Receipt is what writing a chunk yielded. It stays below 300 bytes of JSON, for every receipt is in the run's history;
// with an export's name of more than 45 letters it may have 20 more.
type Receipt struct {
	Chunk int `json:"chunk"`
	// Location is where the chunk lies, in the destination's words: an object's key below the export's prefix.
	Location string `json:"location"`
	// ETag is the store's own mark of the object's bytes.
	ETag string `json:"etag,omitempty"`
	// Upload names what was written and does not show yet, of a run whose files appear in order; it becomes the object at
	// Location, and is gone from the receipt then. Such a receipt is longer, by what the store makes of a name.
	Upload string `json:"upload,omitempty"`
	// Rows is how many rows were counted as the bytes went by.
	Rows uint64 `json:"rows"`
	// Bytes is the object's size.
	Bytes uint64 `json:"bytes"`
	// Checksum is over the bytes sent, as algorithm:base64, and is the one that the store confirmed.
	Checksum string `json:"checksum,omitempty"`
	// Attempt is which attempt at the chunk wrote it, from 1.
	Attempt int32 `json:"attempt,omitempty"`
	// Hash is the hash of the chunk's rows in the source, computed by ClickHouse; see Content. Empty in receipts of
	// programs before there were hashes.
	Hash string `json:"hash,omitempty"`
	// ReadBack tells that what is stored under this entity tag was read back, and gave the same rows and the same hash.
	ReadBack bool `json:"read_back,omitempty"`
	// Adopted tells that what is stored was there already, and that this attempt has not seen its bytes pass: whoever wrote
	// it, it is read back whatever the level of proof. It is not part of the stored receipt, for the next attempt adopts.
	Adopted bool `json:"-"`
}

// Content is the chunk's content in the source, and of what is stored too when it was read back. Its error is of a
// receipt without a hash.
func (r Receipt) Content() (Content, error) { return NewContent(r.Rows, r.Hash) }

// Proof is what was compared before the run was published.
type Proof struct {
	// Level is ProofStream or ProofReadback.
	Level string `json:"level"`
	// PlannedRows is ClickHouse's count at the time of the plan.
	PlannedRows uint64 `json:"planned_rows"`
	// WrittenRows is the count in the bytes that passed.
	WrittenRows uint64 `json:"written_rows"`
	// StoredBytes is the sum of the sizes that the store reports.
	StoredBytes uint64 `json:"stored_bytes"`
	// Source is the content of the run's rows in the source, the sum over its chunks. Nil in proofs of programs before
	// there were hashes.
	Source *Content `json:"source,omitempty"`
	// NotCompared names the columns that Source and Stored leave out, for the destination keeps another text of them than it
	// is given.
	NotCompared []string `json:"not_compared,omitempty"`
	// Stored is the content that was read back from the destination, chunk by chunk; nil with ProofStream.
	Stored *Content `json:"stored,omitempty"`
}

// The levels of proof.
const (
	// ProofStream is what every run has: ClickHouse's count and hash of the source, rows counted in the bytes that
	// passed, and the store's size, entity tag and checksum of every object.
	ProofStream = "stream"
	// ProofReadback is ProofStream, and every row read back from the destination: its count and hash, computed again
	// from the values, are those of the source, in each chunk and so in the whole.
	ProofReadback = "readback"
)

// WithContents completes a destination's proof by what the receipts say of the content of the chunks. The level is
// ProofReadback when it was asked for and every chunk was read back. A destination that has set Source hashes in its own way,
// and its proof stays as it is.
func (p Proof) WithContents(asked string, receipts []Receipt) (Proof, error) {
	if p.Source != nil {
		return p, nil
	}
	var source, stored Content
	all := true
	for _, receipt := range receipts {
		content, err := receipt.Content()
		if err != nil {
			return p, Errorf(KindInternal, "receipt of chunk %d: %w", receipt.Chunk, err)
		}
		source = source.Plus(content)
		if all = all && receipt.ReadBack; all {
			stored = stored.Plus(content)
		}
	}
	p.Source = &source
	if asked == ProofReadback && all {
		p.Level, p.Stored = ProofReadback, &stored
	}
	return p, nil
}

// Manifest is a published run: its receipts and their proof. Written last and conditionally, it is the commit mark:
// readers who go by manifests see a run wholly or not at all.
type Manifest struct {
	// Version is the version of this format: 1.
	Version int  `json:"version"`
	Run     Run  `json:"run"`
	Team    Team `json:"team"`
	// Model, Destination and DefinitionHash say what was exported and how.
	Model string `json:"model"`
	// Columns are the exported columns, with which the files are read; none in manifests of before this was kept, whose
	// columns are EventColumns.
	Columns        []Column `json:"columns,omitempty"`
	Connection     string   `json:"connection"`
	Destination    string   `json:"destination"`
	DefinitionHash string   `json:"definition_hash"`
	PlanHash       string   `json:"plan_hash"`
	Closing        Closing  `json:"closing"`
	// Replaces is the plan's.
	Replaces *Replacement `json:"replaces,omitempty"`
	Rows     uint64       `json:"rows"`
	Bytes    uint64       `json:"bytes"`
	// Receipts has one entry for each chunk, in order; empty for an interval without rows.
	Receipts []Receipt `json:"receipts"`
	Proof    Proof     `json:"proof"`
	// Durations is how long the steps of the workflow took before this was written, in milliseconds, by the names of
	// Progress. With PlannedBy and By it tells where the time went; nothing is decided by it.
	Durations map[string]int64 `json:"durations_ms,omitempty"`
	// PlannedBy is who wrote the plan, and when the work on the run began.
	PlannedBy Author `json:"planned_by"`
	// By is who published.
	By Author `json:"by"`

	// Location is where the manifest lies, in the destination's words. The destination sets it on what it returns; it is
	// not part of the stored manifest, which cannot know under which name it is read.
	Location string `json:"-"`
}

// ManifestVersion is the version of Manifest that this code writes.
const ManifestVersion = 1

// NewManifest draws up the manifest of a proved run.
func NewManifest(plan Plan, receipts []Receipt, proof Proof, by Author) Manifest {
	manifest := Manifest{
		Version: ManifestVersion, Run: plan.Run, Team: plan.Definition.Team, Model: plan.Definition.Model.Name, Columns: manifestColumns(plan.Definition),
		Connection: plan.Definition.Connection, Destination: plan.Definition.Destination,
		DefinitionHash: plan.DefinitionHash, PlanHash: plan.Hash(), Closing: plan.Closing, Replaces: plan.Replaces,
		Receipts: append([]Receipt{}, receipts...), Proof: proof, PlannedBy: plan.By, By: by,
	}
	for _, receipt := range receipts {
		manifest.Rows += receipt.Rows
		manifest.Bytes += receipt.Bytes
	}
	return manifest
}

// Exported are the columns of the published rows.
func (m Manifest) Exported() []Column {
	if len(m.Columns) == 0 {
		return EventColumns()
	}
	return m.Columns
}

// manifestColumns are the columns of a plan's definition. One that was read back is valid, so they are known.
func manifestColumns(definition Definition) []Column {
	columns, _ := definition.Exported()
	return columns
}

// CheckReceipts holds receipts against the plan: one for each chunk, in order, with the rows that were planned.
func CheckReceipts(plan Plan, receipts []Receipt) error {
	if len(receipts) != len(plan.Chunks) {
		return Errorf(KindInternal, "%s: %d receipts for %d chunks", plan.Run, len(receipts), len(plan.Chunks))
	}
	for i, receipt := range receipts {
		if receipt.Chunk != i {
			return Errorf(KindInternal, "%s: receipt %d is of chunk %d", plan.Run, i, receipt.Chunk)
		}
		if receipt.Upload != "" {
			return Errorf(KindInternal, "%s: chunk %d does not show yet", plan.Run, i)
		}
		if want := plan.Chunks[i].Rows; receipt.Rows != want {
			return Errorf(KindInternal, "%s: chunk %d has %d rows, planned were %d", plan.Run, i, receipt.Rows, want)
		}
	}
	return nil
}

// Publication is a manifest in short, without its receipts: what histories and messages say of a published run.
type Publication struct {
	Run            Run    `json:"run"`
	DefinitionHash string `json:"definition_hash"`
	Rows           uint64 `json:"rows"`
	Bytes          uint64 `json:"bytes"`
	Files          int    `json:"files"`
	// Manifest is where the manifest lies, in the destination's words.
	Manifest string `json:"manifest,omitempty"`
	By       Author `json:"by"`
	// RedoBefore is the instant of the redo that made it; nil when none did.
	RedoBefore *time.Time `json:"redo_before,omitempty"`
}

// Publication is the manifest in short.
func (m Manifest) Publication() Publication {
	published := Publication{
		Run: m.Run, DefinitionHash: m.DefinitionHash, Rows: m.Rows, Bytes: m.Bytes, Files: len(m.Receipts),
		Manifest: m.Location, By: m.By,
	}
	if m.Replaces != nil {
		published.RedoBefore = &m.Replaces.Before
	}
	return published
}
