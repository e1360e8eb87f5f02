package eventstore

import (
	"context"

	"github.com/millrace/millrace/export"
)

// cell is a stretch of the sort order, from its place to the next cell's, with what its rows amount to.
type cell struct {
	at    export.Position
	rows  uint64
	bytes uint64
}

// target is what a chunk may hold.
type target struct{ rows, bytes uint64 }

func (t target) exceededBy(c cell) bool { return c.rows > t.rows || c.bytes > t.bytes }

// histogram counts the rows of an interval by place. It is asked for ever finer cells where they are too large.
type histogram interface {
	// coarse gives all cells, in sort order.
	coarse(ctx context.Context) ([]cell, error)
	// finer gives the cells inside some large ones, in sort order. The large ones come from the same depth: that of coarse
	// is 0. No cell at all says that they cannot be cut any more.
	finer(ctx context.Context, depth int, large []cell, aim target) ([]cell, error)
}

// plan cuts what a histogram counts. The same rows give the same chunks. Of an open interval rows may still arrive between
// two counts; then the later one holds.
func plan(ctx context.Context, h histogram, asked target, most int, open bool) ([]export.Chunk, error) {
	cells, err := h.coarse(ctx)
	if err != nil {
		return nil, err
	}
	aim := aimFor(cells, asked, most)
	large := above(cells, aim)
	for depth := 0; len(large) > 0; depth++ {
		fine, err := h.finer(ctx, depth, large, aim)
		if err != nil {
			return nil, err
		}
		if len(fine) == 0 {
			break
		}
		if cells, err = refine(cells, large, fine, open); err != nil {
			return nil, err
		}
		large = above(fine, aim)
	}
	return cut(cells, aim, most), nil
}

// aimFor is what a chunk should hold so that at most most chunks can come out at all.
func aimFor(cells []cell, asked target, most int) target {
	var total cell
	for _, cell := range cells {
		total.rows, total.bytes = total.rows+cell.rows, total.bytes+cell.bytes
	}
	share := func(of uint64) uint64 { return (of + uint64(most) - 1) / uint64(most) }
	return target{rows: max(asked.rows, share(total.rows)), bytes: max(asked.bytes, share(total.bytes))}
}

// above are the cells that hold more than they should.
func above(cells []cell, aim target) []cell {
	var large []cell
	for _, cell := range cells {
		if aim.exceededBy(cell) {
			large = append(large, cell)
		}
	}
	return large
}

// refine puts the fine cells of the large ones into their places. That their rows add up is checked, since both counts are
// of a closed interval: if they do not, somebody wrote where nobody may. Those of an open one need not.
func refine(cells, large, fine []cell, open bool) ([]cell, error) {
	var all []cell
	for i, coarse := range cells {
		if len(large) == 0 || coarse != large[0] {
			all = append(all, coarse)
			continue
		}
		large = large[1:]
		rows := uint64(0)
		for len(fine) > 0 && (i+1 == len(cells) || fine[0].at.Compare(cells[i+1].at) < 0) {
			all, rows, fine = append(all, fine[0]), rows+fine[0].rows, fine[1:]
		}
		if rows != coarse.rows && !open {
			return nil, export.Errorf(export.KindInternal, "from %s on there were %d rows and then %d: the interval is not closed, or its rows were changed",
				coarse.at, coarse.rows, rows)
		}
	}
	return all, nil
}

// cut joins neighbouring cells into chunks as full as they may be; a cell that is larger by itself is a chunk of its own. If
// more than most chunks come out the aim grows until they do not: two neighbours always hold more than it together, in rows
// or in bytes, so it is sure to end.
func cut(cells []cell, aim target, most int) []export.Chunk {
	chunks := join(cells, aim)
	for len(chunks) > most {
		aim = target{rows: aim.rows + aim.rows/8 + 1, bytes: aim.bytes + aim.bytes/8 + 1}
		chunks = join(cells, aim)
	}
	return chunks
}

func join(cells []cell, aim target) []export.Chunk {
	var chunks []export.Chunk
	for _, c := range cells {
		last := len(chunks) - 1
		if last >= 0 && !aim.exceededBy(cell{rows: chunks[last].Rows + c.rows, bytes: chunks[last].Bytes + c.bytes}) {
			chunks[last].Rows += c.rows
			chunks[last].Bytes += c.bytes
			continue
		}
		next := export.Chunk{Index: len(chunks), Rows: c.rows, Bytes: c.bytes}
		if last >= 0 { // the first chunk begins with the interval
			at := c.at
			next.From = &at
			chunks[last].To = &at
		}
		chunks = append(chunks, next)
	}
	return chunks
}
