package export

// VerifyTask is the input of the Verify workflow: an export, and a range of its grid, to be checked again.
type VerifyTask struct {
	Definition Definition `json:"definition"`
	Span       Interval   `json:"span"`
}

// The results of verifying one interval.
const (
	// VerifiedWhole: every file that the manifest names holds what the manifest says.
	VerifiedWhole = "whole"
	// VerifiedDiffers: at least one file does not; Differences says which.
	VerifiedDiffers = "differs"
	// VerifiedMissing: the interval is not published.
	VerifiedMissing = "missing"
	// VerifiedUnproved: the files are those that were published, by size, entity tag and checksum, but their manifest has no
	// hashes to hold their rows against: a program before there were any has written it.
	VerifiedUnproved = "unproved"
	// VerifiedUntold: nothing was found that differs, and not everything could be compared; the only difference says why.
	VerifiedUntold = "untold"
)

// Verification is what was found of one interval.
type Verification struct {
	Run    Run    `json:"run"`
	Result string `json:"result"`
	Rows   uint64 `json:"rows"`
	Bytes  uint64 `json:"bytes"`
	Files  int    `json:"files"`
	// Content is what the manifest says that the files hold; nil when it says nothing.
	Content  *Content `json:"content,omitempty"`
	Manifest string   `json:"manifest,omitempty"`
	// Differences are at most MaxDifferences.
	Differences []Difference `json:"differences,omitempty"`
	// MoreDifferences counts those that found no room.
	MoreDifferences int `json:"more_differences,omitempty"`
}

// MaxDifferences bounds the differences that are told of one interval.
const MaxDifferences = 20

// Difference is one chunk that is not what the manifest says.
type Difference struct {
	// Chunk is the chunk's index, or -1 when the manifest does not agree with itself.
	Chunk    int    `json:"chunk"`
	Location string `json:"location,omitempty"`
	// Gone tells that the chunk is not there any more, as far as the destination tells that from a change.
	Gone bool `json:"gone,omitempty"`
	// What says what differs, in a sentence.
	What string `json:"what"`
}

// VerifyReport is the result of the Verify workflow: one entry for each run that has rows of the range, and for each interval of
// which nothing is published, oldest first.
type VerifyReport struct {
	Export    string         `json:"export"`
	Intervals []Verification `json:"intervals"`
}

// Whole tells that every interval is there and nothing differs.
func (r VerifyReport) Whole() bool {
	for _, interval := range r.Intervals {
		if interval.Result == VerifiedMissing || interval.Result == VerifiedDiffers {
			return false
		}
	}
	return true
}

// Findings tells what was found as a reconciliation does; nothing of a run that is whole.
func (v Verification) Findings() []Finding {
	switch v.Result {
	case VerifiedMissing:
		return []Finding{{Run: v.Run, Change: ChangeRemoved, Chunk: -1, What: v.Run.String() + " was published, and its manifest is gone from the destination"}}
	case VerifiedUnproved:
		return []Finding{{Run: v.Run, Change: ChangeUntold, Chunk: -1, Location: v.Manifest, What: v.Run.String() + ": its manifest has no hashes to hold its rows against"}}
	}
	var found []Finding
	for _, difference := range v.Differences {
		change := ChangeAltered
		switch {
		case v.Result == VerifiedUntold:
			change = ChangeUntold
		case difference.Gone:
			change = ChangeRemoved
		}
		found = append(found, Finding{Run: v.Run, Change: change, Chunk: difference.Chunk, Location: difference.Location, What: difference.What})
	}
	return found
}
