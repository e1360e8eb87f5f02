// Package destinations is the contract between a run and the system it writes to, and the registry of those systems.
// Each system has a folder of its own below this one and registers its Kind.
package destinations

import (
	"context"
	"encoding/json"
	"io"

	"github.com/millrace/millrace/export"
)

// Destination is one system as one export sees it. Every method may be called again after a kill at any instruction,
// on another machine, at the same time as its own zombie, and from another workflow, to the same effect; each says
// below what that means. Errors are export.Error values with a kind, classified by code and never by text.
type Destination interface {
	// Check tries out, step by step, that a run would succeed, tells each step to report, and leaves nothing behind.
	// It goes on after a failed step where a later one can still tell something, and returns the first failure.
	Check(ctx context.Context, report func(Step)) error

	// Published looks for the published run of this export and interval. The revision of run is not looked at; the
	// highest published one is returned, or nil when there is none. A closed revision is none.
	Published(ctx context.Context, run export.Run) (*export.Manifest, error)

	// Prepare writes the plan, conditionally, as the first thing at the destination. The answer is the plan that holds,
	// which is another's when he came first, or the manifest when the run is published already, or the mark of the highest
	// closed revision when the plan's own is closed, or one after it, or the claim when a longer run covers the interval. A
	// published run is no answer to a plan that takes its place (export.Plan.TakesPlaceOf): it stays what readers see until
	// that one is published.
	// Called twice it writes nothing the second time.
	Prepare(ctx context.Context, plan export.Plan) (Prepared, error)

	// Claim writes, conditionally and in the place of the plan of a cell's first revision, that a longer run covers the cell. The
	// answer is whose the cell is: of claims, and of a plan that Prepare writes, one wins for all and for ever. Called twice, or
	// beside its zombie, it writes once.
	Claim(ctx context.Context, claim export.Claim) (export.Holder, error)

	// Holder tells whose a cell is. The revision of cell is not looked at. It changes nothing.
	Holder(ctx context.Context, cell export.Run) (export.Holder, error)

	// WriteChunk writes one chunk of the plan. Called twice, or beside its zombie, it leaves one copy: what is there
	// already under this plan is adopted, and its receipt is made by reading it, and says so (Adopted). A source that breaks off leaves
	// nothing that a reader could take for a chunk.
	WriteChunk(ctx context.Context, task ChunkTask) (export.Receipt, error)

	// Prove holds what is stored against the receipts, and these against the plan. It changes nothing. The Source of the
	// proof is filled in by who asks; Stored and the level, where a destination ReadsBack, too.
	Prove(ctx context.Context, plan export.Plan, receipts []export.Receipt) (export.Proof, error)

	// Publish commits the run: one conditional, atomic step. From then on readers see this revision and no former one. The answer is the manifest that holds, which is another's
	// when he came first. An unknown outcome is read back before it is tried again. A revision that was closed before ends
	// in an export.ClosedError.
	Publish(ctx context.Context, manifest export.Manifest) (export.Manifest, error)

	// Close says of a revision that it will never be published, in the same conditional, atomic step that publishes, so
	// that a zombie which publishes later is refused. The answer is what holds: the mark, which is another's when he came
	// first, or the manifest when the revision was published before. Closing twice is closing once.
	Close(ctx context.Context, mark export.Closed) (Ending, error)

	// Abort takes back what one execution of a run left unfinished, and touches nothing that another could have adopted.
	Abort(ctx context.Context, run export.Run, execution string) error
}

// ReadsBack is what a destination can do whose chunks are files of exported rows. One that proves what it stored in
// another way, such as a database inside its publishing transaction, does not have it, and says so in what Prove returns.
type ReadsBack interface {
	// ReadBack has reader read the stored chunk that a receipt names, whole, and hold it against the content that the
	// receipt tells. What is stored must be what was written, under the receipt's entity tag, from the first byte to the
	// last; what is not ends in an export.Unworkable error of kind `data`. Of a receipt without a hash the bytes alone are
	// held. It changes nothing.
	ReadBack(ctx context.Context, run export.Run, receipt export.Receipt, reader Reader) error
}

// HoldsRows is what a destination can do whose chunks are rows in a database, which computes no hash of ClickHouse's. Both
// sides compute the hash of a canonical text instead: internal/canonical, and docs/proof.md.
type HoldsRows interface {
	// Compared are the columns, out of the model's and in their order, whose values the destination keeps as they were
	// given. The source is hashed by these alone. It changes nothing.
	Compared(ctx context.Context) ([]export.Column, error)
	// ReadRows reads every row of the stored chunk that a receipt names, and computes their number and canonical hash over
	// columns, which are Compared's, from the values. Publish then publishes just the rows that were read, or nothing. What
	// is not as the receipt says ends in an export.Unworkable error. It changes nothing.
	ReadRows(ctx context.Context, run export.Run, receipt export.Receipt, columns []export.Column) (export.Content, error)
}

// ShowsInOrder is what a destination can do whose chunks are files that readers may take as they appear. Where
// definition.InOrder, WriteChunk leaves the file out of sight, and its receipt has an Upload. Kind.InOrder says which
// settings can be so.
type ShowsInOrder interface {
	// Show makes the chunks of a run visible, one after the other in their order, once every earlier run that could still
	// show any has ended. The receipts that it answers with are those that Prove and Publish take. It may be called again,
	// beside its zombie, and by another execution with receipts of its own: each file is shown once, and who finds one there
	// adopts it. A revision that was closed ends in an export.ClosedError, and none of its files shows after the next run's.
	Show(ctx context.Context, plan export.Plan, receipts []export.Receipt) (Shown, error)
	// TakeBack ends what the receipts name and does not show yet. Called twice it does nothing the second time.
	TakeBack(ctx context.Context, run export.Run, receipts []export.Receipt) error
}

// Shown is the answer of Show.
type Shown struct {
	// Receipts are those of files that show, one for each chunk; nil when not all of them do.
	Receipts []export.Receipt
	// Lost are the chunks whose receipts name something that is gone: they have to be written again. No later chunk shows.
	Lost []int
	// Waits says which earlier run has to end first; nothing shows yet. Empty when it is the run's turn.
	Waits string
}

// ReadsPublished is what a destination can do that tells the rows of a published run, where readers read them, from others.
type ReadsPublished interface {
	// ReadPublished reads the rows of a published run again, and holds them against its manifest. It changes nothing.
	ReadPublished(ctx context.Context, manifest export.Manifest) (PublishedRows, error)
}

// PublishedRows is what became of a published run's rows. The zero value: they are as they were published.
type PublishedRows struct {
	// Differences say what is otherwise.
	Differences []export.Difference
	// Untold says why it cannot be told whether all of the rows are as they were published; empty when it can.
	Untold string
}

// Foretells is what a destination can do that knows, before there is a run, how its rows would stand there. An estimate asks.
type Foretells interface {
	// Foretell says how rows would stand. What is in the way of a run, and what could not be asked, is part of the answer. It
	// changes nothing.
	Foretell(ctx context.Context) Foretold
}

// Foretold is the answer of Foretell.
type Foretold struct {
	// Place is where rows would stand, in words: "table analytics.events".
	Place string
	// Encoding is the one in which WriteChunk asks its Source for rows, so that what is encoded for an estimate has the bytes of
	// a receipt.
	Encoding export.Encoding
	// MaxFile bounds the bytes of a file; the plan of a run with a larger one is closed, and the next is finer. 0 does not.
	MaxFile uint64
	// Columns are the exported columns in their order, with their types there.
	Columns []export.PlacedColumn
	// Problem says in words what is in the way of a run; empty when nothing was found.
	Problem string
}

// Placed gives each column the type that it has at a destination.
func Placed(columns []export.Column, kind func(export.Column) string) []export.PlacedColumn {
	placed := make([]export.PlacedColumn, len(columns))
	for i, column := range columns {
		placed[i] = export.PlacedColumn{Name: column.Name, Source: column.Type, Type: kind(column)}
	}
	return placed
}

// Reader reads files of exported rows, and computes what they hold from their values: ClickHouse does.
type Reader interface {
	// Holds reads one file to its end, unless its content is settled before. It answers false, and in which way, when
	// the file is not one in this encoding, or has not the content that is wanted; an error says nothing about the file.
	// It lets go of the file before it returns.
	Holds(ctx context.Context, encoding export.Encoding, file io.Reader, want export.Content) (holds bool, why string, err error)
}

// Prepared is the answer of Prepare.
type Prepared struct {
	// Plan is the plan that holds; with Published, the one that the published run was worked by.
	Plan export.Plan `json:"plan"`
	// Published is the manifest when the run was published before, and nil otherwise.
	Published *export.Manifest `json:"published,omitempty"`
	// Closed is the mark of the highest closed revision when the plan's revision is not open any more, and nil otherwise.
	Closed *export.Closed `json:"closed,omitempty"`
	// Covered is the claim when a longer run has the rows of the interval, and nil otherwise; Plan is nobody's then.
	Covered *export.Claim `json:"covered,omitempty"`
}

// Ending is the answer of Close: just one of the two is set.
type Ending struct {
	// Closed is the mark that holds.
	Closed *export.Closed
	// Published is the manifest when the revision was published before it could be closed.
	Published *export.Manifest
}

// ChunkTask is one chunk to be written.
type ChunkTask struct {
	Run   export.Run
	Chunk export.Chunk
	// PlanHash is the hash of the plan that holds; an object of another plan is never adopted.
	PlanHash string
	// Execution names the workflow execution that works the chunk, for the marks on unfinished uploads.
	Execution string
	// Source gives the chunk's rows. It may be opened again after a failure.
	Source Source
	// Compared are the columns by which the source is hashed, where the destination HoldsRows. It writes nothing when these
	// are not Compared's any more. Nil where nobody compares.
	Compared []export.Column
	// Progress is told now and then, from any goroutine, how many bytes were written. It may be nil.
	Progress func(bytes uint64)
}

// Source is where a chunk's rows come from, as the bytes of a file.
type Source interface {
	// Open begins to read the chunk in the given encoding. The reader ends with io.EOF only when ClickHouse has said
	// that everything was sent; every other end is an error. Close ends the query on every path.
	Open(ctx context.Context, encoding export.Encoding) (io.ReadCloser, error)
}

// Step is one step of a Check, done.
type Step struct {
	// Name says what was tried, as a short phrase: "write an object".
	Name string `json:"name"`
	// Error is empty when it worked, and otherwise says what to do.
	Error string `json:"error,omitempty"`
	// Detail is what was found, when that is of use: a version, an address.
	Detail string `json:"detail,omitempty"`
}

// Kind is a destination system: how its blocks in definitions and connections are read.
type Kind struct {
	// Name is the name of the blocks: "s3".
	Name string
	// Normalize checks an export's block and returns it with all defaults, in canonical form. Its errors name the field,
	// the value and the remedy.
	Normalize func(settings json.RawMessage) (json.RawMessage, error)
	// NormalizeConnection checks a connection's block, whose secrets are still references, likewise.
	NormalizeConnection func(connection json.RawMessage) (json.RawMessage, error)
	// InOrder holds an export's block, normalised, to what `order: strict` needs. Nil where files do not appear one by one;
	// what Open makes is ShowsInOrder otherwise.
	InOrder func(settings json.RawMessage) error
	// Replaceable says why an export's block, normalised, lets no revision take the place of a published one. Nil where every one can.
	Replaceable func(settings json.RawMessage) error
	// Open makes the destination from a connection's block, secrets resolved, an export's block, normalised, and what is
	// exported. It does not reach out yet.
	Open func(ctx context.Context, connection, settings json.RawMessage, shape Shape) (Destination, error)
	// Codes is the whole table by which the system's answers get their kind. docs/runbooks lists it, with what real
	// servers answered as far as a test here could make them; see internal/recorded.
	Codes export.Codes
}

// Shape is what a destination with columns of its own has to know of what is exported.
type Shape struct {
	// Model is the model's name.
	Model string
	// Columns are the exported columns, in the order of every file and stream. They are known to Prepare and to what follows
	// it; before, they are empty for a model that is not built in.
	Columns []export.Column
	// Key is the columns by which a row is told from all others; they need not be exported.
	Key []string
	// Version is the column that is greater in the newer of two rows of one key; empty when rows never change.
	Version string
	// Arrival is the column that intervals are cut by, and Team the one with the team's number, empty when there is none.
	// They need not be exported.
	Arrival, Team string
	// Order is the definition's.
	Order string
}

// ShapeOf is what a definition exports.
func ShapeOf(definition export.Definition) Shape {
	columns, _ := definition.Exported() // a normalised definition is valid
	return Shape{Model: definition.Model.Name, Columns: columns, Key: definition.Model.Identity(), Version: definition.Model.Order(), Arrival: definition.Model.ArrivalColumn(), Team: definition.Model.TeamColumn(), Order: definition.Order}
}
