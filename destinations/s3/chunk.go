package s3

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// identity is what a chunk's object says of itself in its metadata, from the moment that its upload starts.
type identity struct {
	plan  string
	run   export.Run
	chunk int
}

// The names of an object's metadata. That of the execution is for people who look into the bucket.
const (
	metadataPlan      = "millrace-plan"
	metadataRun       = "millrace-run"
	metadataChunk     = "millrace-chunk"
	metadataExecution = "millrace-execution"
)

func (i identity) metadata(execution string) map[string]string {
	return map[string]string{
		metadataPlan: i.plan, metadataRun: runName(i.run), metadataChunk: strconv.Itoa(i.chunk),
		metadataExecution: url.PathEscape(execution), // metadata is ASCII, and who starts a workflow may name it as he likes
	}
}

// owns tells whether an object is this chunk of this plan.
func (i identity) owns(found *object) bool {
	return found.metadata[metadataPlan] == i.plan && found.metadata[metadataRun] == runName(i.run) &&
		found.metadata[metadataChunk] == strconv.Itoa(i.chunk)
}

// chunkWork is one call of WriteChunk.
type chunkWork struct {
	*Destination
	destinations.ChunkTask
	identity
	key string
	// later leaves the chunk's upload open: Show completes it when it is its turn.
	later bool
}

// work is a chunk at its place.
func (d *Destination) work(task destinations.ChunkTask) chunkWork {
	return chunkWork{
		Destination: d, ChunkTask: task, key: d.chunkKey(task.Run, task.Chunk.Index),
		identity: identity{plan: task.PlanHash, run: task.Run, chunk: task.Chunk.Index},
		later:    d.inOrder(task.Run),
	}
}

// undecided is the error of a write that lost its key to somebody, or whose outcome nobody knows.
type undecided struct{ cause error }

func (u *undecided) Error() string { return u.cause.Error() }
func (u *undecided) Unwrap() error { return u.cause }

// WriteChunk writes one object; see destinations.Destination. It looks before it writes, and again after every write
// that was not simply answered: what is there under our plan is adopted, whoever wrote it. Memory is bounded by
// partsInFlight parts and one that fills, see upload.go.
//
// Two copies of a chunk may differ in their bytes (compression, order within a block), never in their rows. So the
// receipt of an adopted object is made by reading it, unless its checksum is that of the bytes just sent. Of a run whose
// files appear in order nothing is made yet: its receipts name uploads, each attempt's its own, which show.go completes.
func (d *Destination) WriteChunk(ctx context.Context, task destinations.ChunkTask) (export.Receipt, error) {
	w := d.work(task)
	var sent content
	for round := 0; ; round++ {
		if err := pause(ctx, round); err != nil {
			return export.Receipt{}, d.explain(ctx, "write "+w.key, err)
		}
		found, err := d.look(ctx, w.key)
		if err != nil {
			return export.Receipt{}, err
		}
		if found != nil {
			return w.adopt(ctx, found, sent)
		}
		stored, err := w.write(ctx, &sent)
		if err == nil {
			receipt := w.receipt(sent, stored.etag)
			receipt.Upload = stored.upload
			return receipt, d.explain(ctx, "write "+w.key, failpoint.Hit(ctx, "s3.receipt"))
		}
		var open *undecided
		if !errors.As(err, &open) {
			return export.Receipt{}, err
		}
		if round+1 == rounds {
			return export.Receipt{}, d.explain(ctx, "write "+w.key, open.cause)
		}
	}
}

// write reads the source and writes the object, in one request when it fits into one part. The content is set as soon
// as it is known. What the store says after a success is held against it.
func (w chunkWork) write(ctx context.Context, sent *content) (*object, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	rows, err := w.openSource(reading)
	if err != nil {
		return nil, w.explain(ctx, "read the source of "+w.key, err)
	}
	defer rows.close()

	first := buffers.Get().(*[]byte)
	defer buffers.Put(first)
	n, err := rows.fill((*first)[:partSize(1)])
	if err != nil {
		return nil, w.explain(ctx, "read the source of "+w.key, err)
	}
	if err := failpoint.Hit(ctx, "s3.chunk.begun"); err != nil {
		return nil, w.explain(ctx, "write "+w.key, err)
	}
	if rows.ended && !w.later {
		if *sent, err = w.whole(rows); err != nil {
			return nil, err
		}
		return w.writeAtOnce(ctx, rows, (*first)[:n], *sent)
	}
	return w.writeInParts(ctx, stop, rows, (*first)[:n], sent)
}

// tooLarge is the error of a chunk whose file is larger than max_file_size: by its size, which is known now, the next plan
// cuts finer. One tenth is for rows that are larger than these.
func (w chunkWork) tooLarge(bytes uint64) error {
	err := export.Errorf(export.KindConfig, "its %d rows make a file of %d bytes or more, and max_file_size is %s", w.Chunk.Rows, bytes, size(w.maxFile))
	if w.Chunk.Rows <= 1 {
		return export.Errorf(export.KindConfig, "%w: make max_file_size larger", err)
	}
	err = export.Errorf(export.KindConfig, "%w: the next revision has smaller chunks; make chunk_rows smaller to plan them so at once, or max_file_size larger", err)
	return export.TooLarge(err, uint64(float64(w.Chunk.Rows)*float64(w.maxFile)/float64(bytes)*0.9))
}

// whole ends the file: nothing may be completed before it agrees with the plan.
func (w chunkWork) whole(rows *passage) (content, error) {
	if !rows.ended {
		return content{}, export.Errorf(export.KindInternal, "write %s: the source has not ended", w.key)
	}
	read, err := rows.content()
	if failpoint.On(switchSwallow) {
		return read, nil
	}
	if err != nil {
		return read, export.Errorf(export.KindSourceUnavailable, "read the source of %s: the stream ended early: %w", w.key, err)
	}
	if read.rows != w.Chunk.Rows {
		return read, export.Unworkable(export.Errorf(export.KindInternal, "read the source of %s: %d rows came, and the plan says %d: the source has changed since the run was planned, which must not happen; nothing was written", w.key, read.rows, w.Chunk.Rows))
	}
	return read, nil
}

// confirm holds the store's answer to a write against what was sent; an answer that leaves something out is completed
// by a look.
func (w chunkWork) confirm(ctx context.Context, sent content, etag, checksum string) (*object, error) {
	stored := &object{etag: etag, checksum: checksum}
	if etag == "" || checksum == "" {
		found, err := w.look(ctx, w.key)
		if err != nil {
			return nil, err
		}
		if found == nil {
			return nil, &undecided{errVanished}
		}
		stored = found
	}
	if stored.checksum != sent.checksum {
		return nil, w.foreignChecksum(stored.checksum, sent.checksum)
	}
	return stored, nil
}

var errVanished = errors.New("the object was written, and is not there")

func (w chunkWork) foreignChecksum(stored, sent string) error {
	if stored == "" {
		return export.Errorf(export.KindConfig, "write %s: %s: the store keeps no CRC64NVME checksum, so nothing that it holds can be proved: use a store that does; `millrace check` says which step fails", w.key, w.place)
	}
	return export.Errorf(export.KindDestinationUnavailable, "write %s: %s: the store has checksum %s, sent was %s", w.key, w.place, stored, sent)
}

// adopt makes the receipt of an object that is there already.
func (w chunkWork) adopt(ctx context.Context, found *object, sent content) (export.Receipt, error) {
	if !w.owns(found) {
		return export.Receipt{}, w.notOurs(w.key, "belongs to another plan (%q)", found.metadata[metadataPlan])
	}
	if found.checksum == "" {
		return export.Receipt{}, w.foreignChecksum("", "")
	}
	if found.checksum == sent.checksum && found.size == sent.bytes {
		return w.receipt(sent, found.etag), nil
	}
	read, err := w.readBack(ctx, found)
	if err != nil {
		return export.Receipt{}, err
	}
	if read.rows != w.Chunk.Rows || read.checksum != found.checksum || read.bytes != found.size {
		return export.Receipt{}, export.Unworkable(w.notOurs(w.key, "has %d rows, %d bytes and checksum %s; the plan says %d rows, the store %d bytes and checksum %s",
			read.rows, read.bytes, read.checksum, w.Chunk.Rows, found.size, found.checksum))
	}
	receipt := w.receipt(read, found.etag)
	receipt.Adopted = true
	return receipt, nil
}

// contentType is that of the bytes as they lie there: what is compressed around is of its compression's type.
func (w chunkWork) contentType() string {
	if w.encoding.Wrapped() {
		return "application/" + string(w.encoding.Compression)
	}
	return map[export.Format]string{
		export.FormatParquet:     "application/vnd.apache.parquet",
		export.FormatArrow:       "application/vnd.apache.arrow.file",
		export.FormatCSV:         "text/csv",
		export.FormatJSONEachRow: "application/x-ndjson",
	}[w.encoding.Format]
}

func (w chunkWork) receipt(of content, etag string) export.Receipt {
	return export.Receipt{
		Chunk: w.Chunk.Index, Location: w.location(w.Run, w.Chunk.Index), ETag: bare(etag),
		Rows: of.rows, Bytes: of.bytes, Checksum: checksumPrefix + of.checksum,
	}
}
