package export

import "time"

// Bounds of what counts as left over.
const (
	// DefaultRemoveAfter is how old it must be, unless it is said.
	DefaultRemoveAfter = Duration(7 * 24 * time.Hour)
	// MinRemoveAfter keeps a slip of the pen from taking away what is at work.
	MinRemoveAfter = Duration(time.Hour)
)

// Leftovers are finished chunks that no published run names and nobody is at work on.
type Leftovers struct {
	// Found counts them, and Bytes is their size as far as it is known; Listed are the first MaxListed.
	Found  int      `json:"found"`
	Bytes  uint64   `json:"bytes"`
	Listed []string `json:"listed,omitempty"`
	// Revisions counts the open revisions that nobody will publish any more: they are closed first. Closed are those that were.
	Revisions int `json:"revisions"`
	Closed    int `json:"closed"`
	// Removed counts what was removed.
	Removed int `json:"removed"`
}

// Leave counts one.
func (l *Leftovers) Leave(name string, size uint64) {
	l.Found++
	l.Bytes += size
	if len(l.Listed) < MaxListed {
		l.Listed = append(l.Listed, name)
	}
}

// Add adds what was found elsewhere.
func (l *Leftovers) Add(more Leftovers) {
	l.Found += more.Found
	l.Bytes += more.Bytes
	l.Listed = append(l.Listed, more.Listed[:min(len(more.Listed), MaxListed-len(l.Listed))]...)
	l.Revisions += more.Revisions
	l.Closed += more.Closed
	l.Removed += more.Removed
}
