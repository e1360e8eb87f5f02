package eventstore

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
)

// histogram draws cells in sort order with, for the large ones, the fine cells inside.
func histogram(t *rapid.T, target uint64) (cells, fine []cell) {
	for hour := range rapid.IntRange(0, 4).Draw(t, "hours") {
		for team := range rapid.IntRange(0, 6).Draw(t, "teams") {
			coarse := cell{at: export.Position{Hour: int64(hour) * 3600, Team: int64(team)}}
			var inside []cell
			for arrival := range rapid.IntRange(1, 8).Draw(t, "arrivals") {
				for _, source := range []string{"c/t/0", "c/t/1"} {
					rows := rapid.Uint64Range(1, 50).Draw(t, "rows")
					place := coarse.at
					place.Arrival, place.Source = int64(arrival+1), source
					inside = append(inside, cell{place, rows})
					coarse.rows += rows
				}
			}
			cells = append(cells, coarse)
			if coarse.rows > target {
				fine = append(fine, inside...)
			}
		}
	}
	return cells, fine
}

func less(a, b export.Position) bool {
	if a.Hour != b.Hour {
		return a.Hour < b.Hour
	}
	if a.Team != b.Team {
		return a.Team < b.Team
	}
	if a.Arrival != b.Arrival {
		return a.Arrival < b.Arrival
	}
	return a.Source < b.Source
}

func TestChunksAreDisjointCoveringBoundedAndTheSameEachTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asked := rapid.Uint64Range(1, 500).Draw(t, "target")
		most := rapid.IntRange(1, 20).Draw(t, "most")
		var coarse, fine []cell
		// The fine cells depend on the target, which depends on the coarse ones; draw until they fit.
		coarse, fine = histogram(t, asked)
		target := targetFor(coarse, asked, most)
		fine = inLarge(coarse, fine, target)
		cells, err := refine(coarse, fine, target)
		if err != nil {
			t.Fatal(err)
		}
		chunks := cut(cells, target, most)
		if again := cut(cells, target, most); !reflect.DeepEqual(chunks, again) {
			t.Fatalf("cut twice gives %v and %v", chunks, again)
		}
		if len(chunks) > most {
			t.Fatalf("%d chunks, at most %d are allowed", len(chunks), most)
		}
		var total, inChunks uint64
		for _, cell := range coarse {
			total += cell.rows
		}
		for i, chunk := range chunks {
			inChunks += chunk.Rows
			if chunk.Index != i || chunk.Rows == 0 {
				t.Errorf("chunk %d is %+v", i, chunk)
			}
			if (i == 0) != (chunk.From == nil) || (i == len(chunks)-1) != (chunk.To == nil) {
				t.Errorf("chunk %d of %d has the bounds %v and %v", i, len(chunks), chunk.From, chunk.To)
			}
			if i > 0 && *chunk.From != *chunks[i-1].To {
				t.Errorf("chunk %d begins at %v, the one before it ends at %v", i, *chunk.From, *chunks[i-1].To)
			}
			if chunk.From != nil && chunk.To != nil && !less(*chunk.From, *chunk.To) {
				t.Errorf("chunk %d ends where it begins, or before", i)
			}
			// Its rows are those of the cells between its bounds.
			rows, inside := uint64(0), 0
			for _, cell := range cells {
				if (chunk.From == nil || !less(cell.at, *chunk.From)) && (chunk.To == nil || less(cell.at, *chunk.To)) {
					rows += cell.rows
					inside++
				}
			}
			if rows != chunk.Rows {
				t.Errorf("chunk %d says %d rows, its cells hold %d", i, chunk.Rows, rows)
			}
			if len(chunks) < most && inside > 1 && rows > grownTarget(total, target, most) {
				t.Errorf("chunk %d holds %d rows in %d cells, aimed at were %d", i, rows, inside, target)
			}
		}
		if inChunks != total {
			t.Errorf("chunks hold %d of %d rows", inChunks, total)
		}
	})
}

// inLarge keeps the fine cells of those above target.
func inLarge(coarse, fine []cell, target uint64) []cell {
	var kept []cell
	for _, large := range above(coarse, target) {
		for _, f := range fine {
			if f.at.Hour == large.at.Hour && f.at.Team == large.at.Team {
				kept = append(kept, f)
			}
		}
	}
	return kept
}

// grownTarget is the most that cut may have grown the target to.
func grownTarget(total, target uint64, most int) uint64 {
	return max(target, 2*total/uint64(most)*9/8+2)
}

func TestRefineRefusesRowsThatChanged(t *testing.T) {
	coarse := []cell{{export.Position{Hour: 3600, Team: 1}, 10}}
	fine := []cell{{export.Position{Hour: 3600, Team: 1, Arrival: 5, Source: "s"}, 11}}
	_, err := refine(coarse, fine, 5)
	const want = "hour 3600 of team 1 had 10 rows and then 11: the interval is not closed, or its rows were changed"
	if err == nil || err.Error() != want {
		t.Errorf("refine = %v, want %q", err, want)
	}
}

func TestNoRowNoChunk(t *testing.T) {
	if chunks := cut(nil, 10, 10); len(chunks) != 0 {
		t.Errorf("cut of nothing = %v", chunks)
	}
}
