package export

// Kind is what went wrong, out of a closed set. It decides whether trying again can help, and it is what people
// filter by (search attribute MillraceErrorKind). Each has a page that helps: see Kind.Runbook.
type Kind string

// The kinds. Those of the user (see Kind.UserMustAct) end a run at once; the rest are tried again until give_up_after.
const (
	KindConfig                 Kind = "config"                  // a definition, connection or argument is wrong
	KindAuth                   Kind = "auth"                    // the destination does not know these credentials
	KindPermission             Kind = "permission"              // it knows them, and refuses this act
	KindNotFound               Kind = "not_found"               // a bucket, table or connection is not there
	KindSchema                 Kind = "schema"                  // columns or types do not fit the destination
	KindData                   Kind = "data"                    // a row cannot be written as it is, or what is stored is not what was read
	KindQuota                  Kind = "quota"                   // the destination throttles, or is full
	KindDestinationUnavailable Kind = "destination_unavailable" // it does not answer, or answers with its own trouble
	KindSourceUnavailable      Kind = "source_unavailable"      // ClickHouse does not answer, or broke off
	KindSourceBehind           Kind = "source_behind"           // the watermark has not passed the interval's end
	KindCancelled              Kind = "cancelled"               // somebody stopped it
	KindInternal               Kind = "internal"                // ours: please report it
)

// After is what a run does after a failure.
type After string

// What runs do. Whether a step is tried again is decided by this alone.
const (
	// AfterEnds: the run ends at once, for no repetition mends it. Who mended it has the interval run again.
	AfterEnds After = "ends"
	// AfterTriesAgain: the step is tried again, with growing pauses, until the export's give_up_after has passed.
	AfterTriesAgain After = "tries again"
	// AfterWaits: nothing has failed. The step looks again every few seconds until give_up_after has passed.
	AfterWaits After = "waits"
	// AfterStops: somebody asked for it, so the run ends.
	AfterStops After = "stops"
)

// kinds is the table of the closed set, in the order of the documentation.
var kinds = []struct {
	kind     Kind
	after    After
	pauses   bool
	sentence string
}{
	{KindConfig, AfterEnds, true, "A definition, a connection or an argument is wrong, and has to be corrected."},
	{KindAuth, AfterEnds, true, "The destination does not accept the credentials, and others have to be given."},
	{KindPermission, AfterEnds, true, "The destination knows the credentials and does not allow them this, so a right has to be granted."},
	{KindNotFound, AfterEnds, true, "A bucket, schema, table or database is not there, and has to be made or named right."},
	{KindSchema, AfterEnds, true, "The target's columns or types do not fit the rows, and have to be changed."},
	{KindData, AfterEnds, false, "A row cannot be stored as it is, or what is stored is not what was read."},
	{KindQuota, AfterTriesAgain, false, "The destination is full or asks to slow down."},
	{KindDestinationUnavailable, AfterTriesAgain, false, "The destination does not answer, or has trouble of its own."},
	{KindSourceUnavailable, AfterTriesAgain, false, "ClickHouse does not answer, or broke off."},
	{KindSourceBehind, AfterWaits, false, "Events of the interval may still arrive, so it is not exported yet."},
	{KindCancelled, AfterStops, false, "Somebody cancelled the run, or its worker was told to stop."},
	{KindInternal, AfterTriesAgain, false, "Something happened that Millrace does not expect; please report it."},
}

// Kinds lists the closed set in the order of the documentation.
func Kinds() []Kind {
	var all []Kind
	for _, line := range kinds {
		all = append(all, line.kind)
	}
	return all
}

// After says what a run does after a failure of this kind. A text that is none of the kinds is tried again, as ours.
func (k Kind) After() After {
	for _, line := range kinds {
		if line.kind == k {
			return line.after
		}
	}
	return KindInternal.After()
}

// Sentence says in general what the kind means; what happened in particular is in the error. "" for what is no kind.
func (k Kind) Sentence() string {
	for _, line := range kinds {
		if line.kind == k {
			return line.sentence
		}
	}
	return ""
}

// Runbook is the page that says what to do, in the folder of the sources: "docs/runbooks/auth.md". "" for what is no kind.
func (k Kind) Runbook() string {
	if k.Sentence() == "" {
		return ""
	}
	return "docs/runbooks/" + string(k) + ".md"
}

// PausesExport tells the kinds of which nothing but failures, for as long as the export's pause_after, pauses the export: what its
// user has to mend before any run can succeed. KindData is not among them, for it is about the rows of one interval, and the
// fault may be ours; and what the world does never pauses an export.
func (k Kind) PausesExport() bool {
	for _, line := range kinds {
		if line.kind == k {
			return line.pauses
		}
	}
	return false
}

// UserMustAct tells the kinds that no repetition mends: somebody must change a definition, a credential or the data.
func (k Kind) UserMustAct() bool { return k.After() == AfterEnds }
