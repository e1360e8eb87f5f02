package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// reader has ClickHouse read files of exported events.
type reader struct {
	events *eventstore.Store
	// columns are those of the files.
	columns []export.Column
	comment string
	// settings are ClickHouse's for these queries.
	settings map[string]string
	// progress is told while bytes pass, and while ClickHouse reads what has passed.
	progress func()
}

// Holds holds a file's values against a content; see destinations.Reader.
func (r reader) Holds(ctx context.Context, encoding export.Encoding, file io.Reader, want export.Content) (bool, string, error) {
	telling := &telling{file: file, progress: r.progress}
	defer telling.stop()
	err := r.events.HoldsContent(ctx, eventstore.FileQuery{Encoding: encoding, Columns: r.columns, LogComment: r.comment, Settings: r.settings}, telling, want)
	if errors.Is(err, eventstore.ErrOtherContent) || errors.Is(err, eventstore.ErrUnreadable) {
		return false, err.Error(), nil
	}
	return err == nil, "", err
}

// telling tells progress whenever more of a file is asked for, and now and then from its end until it is stopped, for
// ClickHouse reads a Parquet file only then. How long that may take is bounded by the event store.
type telling struct {
	file     io.Reader
	progress func()
	ended    sync.Once
	stopped  func()
}

// Read reads the file.
func (t *telling) Read(p []byte) (int, error) {
	t.progress()
	n, err := t.file.Read(p)
	if err != nil {
		t.ended.Do(func() { t.stopped = nowAndThen(t.progress) })
	}
	return n, err
}

func (t *telling) stop() {
	t.ended.Do(func() {})
	if t.stopped != nil {
		t.stopped()
	}
}

// provedChunk is a chunk whose receipt is to be completed.
type provedChunk struct {
	run         export.Run
	definition  export.Definition
	chunk       export.Chunk
	destination destinations.Destination
	// compared are the columns that are hashed as a database does it; nil where ClickHouse reads files back.
	compared []export.Column
	progress func()
}

// compare asks a destination that holds rows by which columns they are compared.
func (p *provedChunk) compare(ctx context.Context) (err error) {
	if rows, can := p.destination.(destinations.HoldsRows); can {
		p.compared, err = rows.Compared(ctx)
	}
	return err
}

// contentNow has ClickHouse compute what the chunk's rows amount to; the zero chunk is the whole interval.
func (s *Steps) contentNow(ctx context.Context, p provedChunk) (export.Content, error) {
	query := chunkQuery(p.definition, p.run, p.chunk, "hash")
	query.Settings = s.reads(ctx)
	if p.compared == nil {
		return s.Events.ChunkContent(ctx, query)
	}
	return s.Events.CanonicalContent(ctx, query, p.compared)
}

// sourceContent is contentNow of a chunk that was planned, whose rows must be as many as then.
func (s *Steps) sourceContent(ctx context.Context, p provedChunk) (export.Content, error) {
	content, err := s.contentNow(ctx, p)
	if err == nil && content.Rows != p.chunk.Rows {
		err = export.Unworkable(export.Errorf(export.KindInternal,
			"%s, chunk %d: the source has %d rows, and the plan says %d: it has changed since the run was planned, which must not happen", p.run, p.chunk.Index, content.Rows, p.chunk.Rows))
	}
	return content, err
}

// readBack has the stored chunk read back, when the definition asks for it, or when another attempt wrote it, and the
// destination can.
func (s *Steps) readBack(ctx context.Context, p provedChunk, receipt *export.Receipt) error {
	if rows, can := p.destination.(destinations.HoldsRows); can && p.definition.Proof == export.ProofReadback {
		return readRows(ctx, rows, p, receipt)
	}
	files, can := p.destination.(destinations.ReadsBack)
	if p.definition.Proof != export.ProofReadback && !receipt.Adopted || !can {
		return nil
	}
	columns, err := p.definition.Exported()
	if err != nil {
		return err
	}
	if err := files.ReadBack(ctx, p.run, *receipt, reader{events: s.Events, columns: columns, comment: "millrace read back " + p.run.String(), settings: s.reads(ctx), progress: p.progress}); err != nil {
		return err
	}
	receipt.ReadBack = true
	return nil
}

// readRowsFor bounds the reading of a chunk's rows in a database, which tells nothing while it is at work.
const readRowsFor = 10 * time.Minute

// readRows has a database compute what a stored chunk amounts to, and holds it against the source.
func readRows(ctx context.Context, rows destinations.HoldsRows, p provedChunk, receipt *export.Receipt) error {
	want, err := receipt.Content()
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, readRowsFor,
		export.Errorf(export.KindDestinationUnavailable, "the database has not read the chunk within %s", readRowsFor))
	defer cancel()
	stop := nowAndThen(p.progress)
	stored, err := rows.ReadRows(bounded, p.run, *receipt, p.compared)
	stop()
	switch {
	case err != nil && ctx.Err() == nil && bounded.Err() != nil:
		return context.Cause(bounded)
	case err != nil:
		return err
	case stored != want:
		return export.Unworkable(export.Errorf(export.KindData, "%s, chunk %d: %s has %s, the source has %s: find out who or what changes rows there",
			p.run, p.chunk.Index, receipt.Location, stored, want))
	}
	receipt.ReadBack = true
	return nil
}

// proveAtOnce is how many chunks are proved at a time that a program before there were hashes has written.
const proveAtOnce = 2

// switchManifestFirst makes a build that is broken on purpose: it writes the manifest first, and proves afterwards.
const switchManifestFirst = "activities.manifest.first"

// ProveRun holds what is stored against the receipts and the plan. It changes nothing. The values were held against the
// source chunk by chunk, when each was written; that what was read then is what is there still is told by its entity tag.
func (s *Steps) ProveRun(ctx context.Context, task FinishTask) (export.Proof, error) {
	defer alive(ctx)()
	destination, definition, err := s.open(ctx, task.Plan.Definition)
	if err != nil {
		return export.Proof{}, failure(ctx, err)
	}
	if failpoint.On(switchManifestFirst) {
		if _, err := destination.Publish(ctx, export.NewManifest(task.Plan, task.Receipts, export.Proof{}, author(ctx))); err != nil {
			return export.Proof{}, failure(ctx, err)
		}
	}
	receipts, err := s.completeReceipts(ctx, destination, definition, task)
	if err != nil {
		return export.Proof{}, failure(ctx, err)
	}
	proof, err := destination.Prove(ctx, task.Plan, receipts)
	if err != nil {
		return proof, failure(ctx, err)
	}
	proof, err = proof.WithContents(definition.Proof, receipts)
	return proof, failure(ctx, err)
}

// completeReceipts proves the chunks whose receipts a program before there were hashes has made, within a run that goes
// over an upgrade.
func (s *Steps) completeReceipts(ctx context.Context, destination destinations.Destination, definition export.Definition, task FinishTask) ([]export.Receipt, error) {
	receipts := append([]export.Receipt{}, task.Receipts...)
	if len(receipts) != len(task.Plan.Chunks) {
		return receipts, nil // Prove says so
	}
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(proveAtOnce)
	for i := range receipts {
		if receipts[i].Hash != "" {
			continue
		}
		p := provedChunk{run: task.Plan.Run, definition: definition, chunk: task.Plan.Chunks[i], destination: destination, progress: func() {}}
		group.Go(func() error {
			if err := p.compare(working); err != nil {
				return err
			}
			content, err := s.sourceContent(working, p)
			if err != nil {
				return err
			}
			receipts[i].Hash = content.HashText()
			return s.readBack(working, p, &receipts[i])
		})
	}
	return receipts, group.Wait()
}

// hashing is the source's content on its way, while the chunk is written.
type hashing struct {
	done    chan struct{}
	content export.Content
	err     error
}

// beginHashing hashes the source, and ends the chunk when it cannot be hashed, or is not what was planned.
func (s *Steps) beginHashing(ctx context.Context, p provedChunk, stop context.CancelCauseFunc) *hashing {
	h := &hashing{done: make(chan struct{})}
	go func() {
		defer close(h.done)
		if h.content, h.err = s.sourceContent(ctx, p); h.err != nil {
			stop(h.err)
		}
	}()
	return h
}

// endWith ends the hashing of a chunk that has failed.
func (h *hashing) endWith(err error, stop context.CancelCauseFunc) {
	stop(err)
	<-h.done
}

// prove completes the receipt of a chunk that is written.
func (s *Steps) prove(ctx context.Context, p provedChunk, source *hashing, receipt *export.Receipt) error {
	stop := nowAndThen(p.progress)
	<-source.done // it ends with ctx
	stop()
	if source.err != nil {
		return source.err
	}
	receipt.Hash = source.content.HashText()
	if receipt.Rows != source.content.Rows {
		return export.Unworkable(export.Errorf(export.KindData, "%s, chunk %d: %d rows were written, the source has %d", p.run, p.chunk.Index, receipt.Rows, source.content.Rows))
	}
	if failpoint.On(switchManifestFirst) || receipt.Upload != "" {
		return nil
	}
	if err := s.readBack(ctx, p, receipt); err != nil {
		return fmt.Errorf("prove the chunk: %w", err)
	}
	return nil
}
