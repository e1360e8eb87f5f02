package export

import (
	"encoding/json"
	"fmt"
)

// Closed is the mark of a revision that will never be published. It is written conditionally at the commit mark, where the
// manifest would be, so of closing and publishing one wins for all. The run is done again as the next revision.
type Closed struct {
	// Version is the version of the commit mark's format: 2. Version 1 knows manifests alone, and a program that knows
	// no more must not take this for one.
	Version int `json:"version"`
	Run     Run `json:"run"`
	// Reason says why the revision could not be published, in a sentence for people.
	Reason string `json:"closed"`
	// ChunkRows bounds the rows of a chunk in the revisions after it, when files would have been larger than they may be; 0
	// leaves it to the definition.
	ChunkRows uint64 `json:"chunk_rows,omitempty"`
	// DefinitionHash is that of the definition that the one who closed works by: the next revision's.
	DefinitionHash string `json:"definition_hash"`
	// By is who closed.
	By Author `json:"by"`
}

// ClosedVersion is the version of Closed that this code writes.
const ClosedVersion = 2

// ClosedError is the error of who wants to publish a revision that was closed.
type ClosedError struct{ Closed Closed }

// Error says who closed it and why.
func (c *ClosedError) Error() string {
	return fmt.Sprintf("%s was closed by workflow %s: %s", c.Closed.Run, c.Closed.By.WorkflowID, c.Closed.Reason)
}

// ReadCommitMark reads what stands at the commit mark of a revision: its manifest, or that it was closed. Just one of the
// two answers is set.
func ReadCommitMark(content []byte) (*Manifest, *Closed, error) {
	var head struct {
		Version int    `json:"version"`
		Closed  string `json:"closed"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return nil, nil, err
	}
	known := ManifestVersion
	var manifest *Manifest
	var closed *Closed
	var mark any
	if head.Closed != "" {
		closed, known = &Closed{}, ClosedVersion
		mark = closed
	} else {
		manifest = &Manifest{}
		mark = manifest
	}
	if head.Version != known {
		return nil, nil, Errorf(KindInternal, "it has version %d, this program knows %d: run the version that wrote it", head.Version, known)
	}
	return manifest, closed, json.Unmarshal(content, mark)
}
