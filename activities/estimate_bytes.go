package activities

import (
	"context"
	"errors"
	"io"
	"math/bits"
	"time"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/export"
)

const (
	// samplePoints is how many places of a range are encoded, evenly over its bytes of values: a power of two.
	samplePoints = 16
	// pieceRows and pieceBytes bound what is encoded at a place: a whole chunk, or a piece of a larger one.
	pieceRows, pieceBytes = 100_000, 32 << 20
	// wholeRows, wholeBytes and wholeChunks bound a range that is encoded whole.
	wholeRows, wholeBytes, wholeChunks = 250_000, 64 << 20, 32
	// sampleTime bounds all encoding, for somebody waits: the places that were encoded until then count.
	sampleTime = 30 * time.Second
)

// piece is what is encoded at a place.
type piece struct {
	interval export.Interval
	chunk    export.Chunk
}

// amount is what places are spread over: the bytes of values, and one for each row, so that no row weighs nothing.
func amount(rows, bytes uint64) float64 { return float64(rows) + float64(bytes) }

// countBytes finds the bytes, and gives the pieces that were encoded for it.
func (e *estimator) countBytes(ctx context.Context) ([]piece, error) {
	e.answer.Bytes, e.answer.BytesFrom = e.answer.ValueBytes, export.BytesValues
	if e.answer.Rows == 0 {
		e.answer.Bytes, e.answer.BytesFrom = 0, export.BytesEncoded
		return nil, nil
	}
	pieces, whole, err := e.pieces(ctx)
	if err != nil {
		return nil, err
	}
	if e.told != nil {
		known, err := e.encode(ctx, pieces, whole)
		if err != nil || known {
			return pieces, err
		}
		e.note("nothing was encoded within %s, by which bytes are told best", sampleTime)
	}
	return pieces, e.bytesOfLedger(ctx)
}

// pieces are what is to be encoded: every chunk of a small range, or what is found at places that are spread evenly over the
// bytes of all, in an order in which any first few of them are spread evenly, too. A place may be in the piece of another.
func (e *estimator) pieces(ctx context.Context) (pieces []piece, whole bool, err error) {
	filled := e.bySize()
	whole = e.answer.Rows <= wholeRows && e.answer.ValueBytes <= wholeBytes && e.answer.ChunksPlanned && e.answer.Chunks <= wholeChunks
	if whole {
		for _, i := range filled {
			chunks, err := e.chunksOf(ctx, i)
			if err != nil {
				return nil, false, err
			}
			for _, chunk := range chunks {
				pieces = append(pieces, piece{e.counted[i].Interval, chunk})
			}
		}
		return pieces, true, nil
	}
	total := amount(e.answer.Rows, e.answer.ValueBytes)
	for k := range samplePoints {
		nth := bits.Reverse8(uint8(k)) / (256 / samplePoints)
		at := (float64(nth) + 0.5) / samplePoints * total
		for _, i := range filled {
			size := amount(e.counted[i].Rows, e.counted[i].Bytes)
			if at >= size && i != filled[len(filled)-1] {
				at -= size
				continue
			}
			found, err := e.pieceAt(ctx, i, at/size)
			if err != nil {
				return nil, false, err
			}
			pieces = append(pieces, found)
			break
		}
	}
	return pieces, false, nil
}

// pieceAt is the chunk, or the piece of a large one, at a place of an interval: a share of its bytes.
func (e *estimator) pieceAt(ctx context.Context, i int, share float64) (piece, error) {
	chunks, err := e.chunksOf(ctx, i)
	if err != nil {
		return piece{}, err
	}
	found := chunkAt(chunks, share)
	if found.Rows > pieceRows || found.Bytes > pieceBytes {
		finer, done := e.cutFiner[i]
		if !done {
			query := e.plan(e.counted[i].Interval)
			query.TargetRows, query.TargetBytes = min(pieceRows, query.TargetRows), min(pieceBytes, query.TargetBytes)
			if finer, err = e.Events.PlanChunks(ctx, query); err != nil {
				return piece{}, err
			}
			e.cutFiner[i] = finer
		}
		found = chunkAt(finer, share)
	}
	return piece{e.counted[i].Interval, found}, nil
}

// chunkAt is the chunk at a share of the bytes of all.
func chunkAt(chunks []export.Chunk, share float64) export.Chunk {
	total := 0.0
	for _, chunk := range chunks {
		total += amount(chunk.Rows, chunk.Bytes)
	}
	at := share * total
	for _, chunk := range chunks {
		if at -= amount(chunk.Rows, chunk.Bytes); at < 0 {
			return chunk
		}
	}
	if len(chunks) == 0 {
		return export.Chunk{}
	}
	return chunks[len(chunks)-1]
}

// encode encodes pieces and throws the bytes away. A place stands for as many bytes of values as every other, so the mean of
// what each makes of its own is what all make of theirs. It answers false when the time was too short for a single one.
func (e *estimator) encode(ctx context.Context, pieces []piece, whole bool) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, sampleTime)
	defer cancel()
	ratios, places := 0.0, 0
	sizes := map[piece]uint64{}
	for _, p := range pieces {
		key := piece{p.interval, export.Chunk{Index: p.chunk.Index, Rows: p.chunk.Rows, Bytes: p.chunk.Bytes}}
		size, done := sizes[key]
		if !done {
			var err error
			if size, err = e.encodePiece(limited, p); err != nil {
				if ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
					break
				}
				return false, err
			}
			sizes[key] = size
			e.answer.Encoded.Chunks++
			e.answer.Encoded.Rows += p.chunk.Rows
			e.answer.Encoded.Bytes += size
		}
		ratios += float64(size) / amount(p.chunk.Rows, p.chunk.Bytes)
		places++
	}
	switch {
	case whole && places == len(pieces):
		e.answer.Bytes, e.answer.BytesFrom = e.answer.Encoded.Bytes, export.BytesEncoded
	case places > 0:
		e.answer.Bytes, e.answer.BytesFrom = uint64(ratios/float64(places)*amount(e.answer.Rows, e.answer.ValueBytes)), export.BytesSample
	}
	return places > 0, nil
}

func (e *estimator) encodePiece(ctx context.Context, p piece) (uint64, error) {
	stream, err := chunkSource{events: e.Events, query: e.chunk(p.interval, p.chunk)}.Open(ctx, e.told.Encoding)
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	size, err := io.Copy(io.Discard, stream)
	return uint64(size), err
}

// bytesOfLedger takes the bytes of a row from the latest published runs of the same definition, if there are any.
func (e *estimator) bytesOfLedger(ctx context.Context) error {
	runs, err := e.Events.Runs(ctx, eventstore.RunFilter{Export: e.definition.Name, Limit: recentRuns})
	if err != nil {
		return err
	}
	var rows, bytes uint64
	for _, run := range runs {
		if run.Status == eventstore.StatusPublished && run.DefinitionHash == e.definition.Hash() {
			rows, bytes = rows+run.Rows, bytes+run.Bytes
		}
	}
	if rows > 0 {
		e.answer.Bytes, e.answer.BytesFrom = uint64(float64(bytes)/float64(rows)*float64(e.answer.Rows)), export.BytesLedger
	}
	return nil
}
