package eventstore

import (
	"github.com/millrace/millrace/export"
)

// cell is a stretch of the sort order, from its place to the next cell's, with the number of its rows.
type cell struct {
	at   export.Position
	rows uint64
}

// targetFor is how many rows a chunk should hold so that at most most chunks can come out at all.
func targetFor(cells []cell, asked uint64, most int) uint64 {
	total := uint64(0)
	for _, cell := range cells {
		total += cell.rows
	}
	return max(asked, (total+uint64(most)-1)/uint64(most))
}

// above are the cells with more rows than target.
func above(cells []cell, target uint64) []cell {
	var large []cell
	for _, cell := range cells {
		if cell.rows > target {
			large = append(large, cell)
		}
	}
	return large
}

// refine puts the fine cells of those above target into their places. That their rows add up is checked, since both
// counts are of a closed interval: if they do not, somebody wrote where nobody may.
func refine(cells, fine []cell, target uint64) ([]cell, error) {
	var all []cell
	for _, coarse := range cells {
		if coarse.rows <= target {
			all = append(all, coarse)
			continue
		}
		rows := uint64(0)
		for len(fine) > 0 && fine[0].at.Hour == coarse.at.Hour && fine[0].at.Team == coarse.at.Team {
			all, rows, fine = append(all, fine[0]), rows+fine[0].rows, fine[1:]
		}
		if rows != coarse.rows {
			return nil, export.Errorf(export.KindInternal, "hour %d of team %d had %d rows and then %d: the interval is not closed, or its rows were changed",
				coarse.at.Hour, coarse.at.Team, coarse.rows, rows)
		}
	}
	return all, nil
}

// cut joins neighbouring cells into chunks of at most target rows, as full as they go; a cell that is larger by itself is
// a chunk of its own. If more than most chunks come out the target grows until they do not: two neighbours always hold
// more than target together, so at twice the total by most it is sure to end.
func cut(cells []cell, target uint64, most int) []export.Chunk {
	chunks := join(cells, target)
	for len(chunks) > most {
		target += target/8 + 1
		chunks = join(cells, target)
	}
	return chunks
}

func join(cells []cell, target uint64) []export.Chunk {
	var chunks []export.Chunk
	for _, cell := range cells {
		last := len(chunks) - 1
		if last >= 0 && chunks[last].Rows+cell.rows <= target {
			chunks[last].Rows += cell.rows
			continue
		}
		next := export.Chunk{Index: len(chunks), Rows: cell.rows}
		if last >= 0 { // the first chunk begins with the interval
			at := cell.at
			next.From = &at
			chunks[last].To = &at
		}
		chunks = append(chunks, next)
	}
	return chunks
}
