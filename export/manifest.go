package export

// Receipt is what writing a chunk yielded. It stays below 300 bytes of JSON, for every receipt is in the run's history.
type Receipt struct {
	Chunk int `json:"chunk"`
	// Location is where the chunk lies, in the destination's words: an object's key below the export's prefix.
	Location string `json:"location"`
	// ETag is the store's own mark of the object's bytes.
	ETag string `json:"etag,omitempty"`
	// Rows is how many rows were counted as the bytes went by.
	Rows uint64 `json:"rows"`
	// Bytes is the object's size.
	Bytes uint64 `json:"bytes"`
	// Checksum is over the bytes sent, as algorithm:base64, and is the one that the store confirmed.
	Checksum string `json:"checksum,omitempty"`
	// Attempt is which attempt at the chunk wrote it, from 1.
	Attempt int32 `json:"attempt,omitempty"`
}

// Proof is what was compared before the run was published.
type Proof struct {
	// Level is "stream": rows counted by ClickHouse, rows counted in the bytes that passed, and the store's size,
	// entity tag and checksum of every object agree.
	Level string `json:"level"`
	// PlannedRows is ClickHouse's count at the time of the plan.
	PlannedRows uint64 `json:"planned_rows"`
	// WrittenRows is the count in the bytes that passed.
	WrittenRows uint64 `json:"written_rows"`
	// StoredBytes is the sum of the sizes that the store reports.
	StoredBytes uint64 `json:"stored_bytes"`
}

// ProofStream is the level of proof that every run has.
const ProofStream = "stream"

// Manifest is a published run: its receipts and their proof. Written last and conditionally, it is the commit mark:
// readers who go by manifests see a run wholly or not at all.
type Manifest struct {
	// Version is the version of this format: 1.
	Version int  `json:"version"`
	Run     Run  `json:"run"`
	Team    Team `json:"team"`
	// Model, Destination and DefinitionHash say what was exported and how.
	Model          string  `json:"model"`
	Connection     string  `json:"connection"`
	Destination    string  `json:"destination"`
	DefinitionHash string  `json:"definition_hash"`
	PlanHash       string  `json:"plan_hash"`
	Closing        Closing `json:"closing"`
	Rows           uint64  `json:"rows"`
	Bytes          uint64  `json:"bytes"`
	// Receipts has one entry for each chunk, in order; empty for an interval without rows.
	Receipts []Receipt `json:"receipts"`
	Proof    Proof     `json:"proof"`
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
		Version: ManifestVersion, Run: plan.Run, Team: plan.Definition.Team, Model: plan.Definition.Model,
		Connection: plan.Definition.Connection, Destination: plan.Definition.Destination,
		DefinitionHash: plan.DefinitionHash, PlanHash: plan.Hash(), Closing: plan.Closing,
		Receipts: append([]Receipt{}, receipts...), Proof: proof, PlannedBy: plan.By, By: by,
	}
	for _, receipt := range receipts {
		manifest.Rows += receipt.Rows
		manifest.Bytes += receipt.Bytes
	}
	return manifest
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
}

// Publication is the manifest in short.
func (m Manifest) Publication() Publication {
	return Publication{
		Run: m.Run, DefinitionHash: m.DefinitionHash, Rows: m.Rows, Bytes: m.Bytes, Files: len(m.Receipts),
		Manifest: m.Location, By: m.By,
	}
}
