package eventstore

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/export"
)

// inMemory is a histogram of rows that the test holds: it groups as the queries do.
type inMemory struct {
	rows []weighted
	// place is where the cell of a depth begins that a row is in; false when there is no such depth.
	place func(p export.Position, depth int, large []cell, aim target) (export.Position, bool)
}

type weighted struct {
	at    export.Position
	bytes uint64
}

func (h inMemory) coarse(context.Context) ([]cell, error) { return h.at(0, nil, target{}), nil }

func (h inMemory) finer(_ context.Context, depth int, large []cell, aim target) ([]cell, error) {
	inside := inMemory{place: h.place}
	for _, row := range h.rows {
		place, _ := h.place(row.at, depth, large, aim)
		if _, in := slices.BinarySearchFunc(large, place, func(c cell, p export.Position) int { return c.at.Compare(p) }); in {
			inside.rows = append(inside.rows, row)
		}
	}
	return inside.at(depth+1, large, aim), nil
}

// at counts rows, which are sorted, so that those of one cell follow each other.
func (h inMemory) at(depth int, large []cell, aim target) []cell {
	var cells []cell
	for _, row := range h.rows {
		place, is := h.place(row.at, depth, large, aim)
		if !is {
			return nil
		}
		if last := len(cells) - 1; last < 0 || cells[last].at != place {
			cells = append(cells, cell{at: place})
		}
		last := &cells[len(cells)-1]
		last.rows, last.bytes = last.rows+1, last.bytes+row.bytes
	}
	return cells
}

// eventsPlace is where eventsHistogram counts a row.
func eventsPlace(p export.Position, depth int, large []cell, aim target) (export.Position, bool) {
	place := export.Position{Hour: p.Hour, Team: p.Team}
	if depth >= 1 {
		place.Arrival, place.Source = p.Arrival, p.Source
	}
	if depth >= 2 {
		width := offsetWidth(large, aim)
		place.Offset = p.Offset / width * width
	}
	return place, depth <= 2
}

// modelPlace is where modelHistogram counts a row.
func modelPlace(interval export.Interval) func(export.Position, int, []cell, target) (export.Position, bool) {
	h := modelHistogram{counted{rows: relation{interval: interval}}}
	return func(p export.Position, depth int, _ []cell, _ target) (export.Position, bool) {
		length, bits := h.stretch(depth)
		start := interval.Start.UnixMicro()
		return export.Position{Arrival: start + (p.Arrival-start)/length*length, Key: p.Key >> (64 - bits) << (64 - bits)}, bits <= maxKeyBits
	}
}

func anyRows(t *rapid.T, interval export.Interval, ofModel bool) []weighted {
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	var rows []weighted
	for range rapid.IntRange(0, 12).Draw(t, "bursts") {
		arrival := interval.Start.UnixMicro() + random.Int64N(interval.Length().Microseconds())
		spread := []int64{1, 1, 1000, 60_000_000}[random.IntN(4)]
		for n := range random.IntN(120) {
			at := min(arrival+random.Int64N(spread), interval.End.UnixMicro()-1)
			p := export.Position{Arrival: at, Key: random.Uint64()}
			if !ofModel {
				p = export.Position{Hour: at / 3_600_000_000 * 3600, Team: random.Int64N(3), Arrival: at, Source: []string{"c/t/0", "c/t/1"}[random.IntN(2)], Offset: uint64(n)}
			}
			rows = append(rows, weighted{p, uint64(random.IntN(50))})
		}
	}
	return rows
}

func TestChunksAreDisjointCoveringBoundedAndTheSameEachTime(t *testing.T) {
	for name, ofModel := range map[string]bool{"events": false, "a model": true} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				start := time.Unix(1_795_431_600+rapid.Int64Range(0, 7200).Draw(t, "start"), 0)
				interval := export.Interval{Start: start, End: start.Add(time.Duration(rapid.IntRange(1, 1500).Draw(t, "minutes")) * time.Minute)}
				h := inMemory{rows: anyRows(t, interval, ofModel), place: eventsPlace}
				if ofModel {
					h.place = modelPlace(interval)
				}
				asked := target{rapid.Uint64Range(1, 500).Draw(t, "rows"), rapid.Uint64Range(1, 10_000).Draw(t, "bytes")}
				holdPlan(t, h, asked, rapid.IntRange(1, 20).Draw(t, "most"))
			})
		})
	}
}

// fatal is what rapid.T and testing.T share.
type fatal interface {
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// holdPlan holds a plan against the rows themselves.
func holdPlan(t fatal, h inMemory, asked target, most int) []export.Chunk {
	slices.SortFunc(h.rows, func(a, b weighted) int { return a.at.Compare(b.at) })
	chunks, err := plan(context.Background(), h, asked, most, false)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	if again, _ := plan(context.Background(), h, asked, most, false); !reflect.DeepEqual(chunks, again) {
		t.Fatalf("planned twice it is %v and %v", chunks, again)
	}
	if len(chunks) > most {
		t.Fatalf("%d chunks, at most %d are allowed", len(chunks), most)
	}
	for i, chunk := range chunks {
		if chunk.Index != i || chunk.Rows == 0 {
			t.Errorf("chunk %d is %+v", i, chunk)
		}
		if (i == 0) != (chunk.From == nil) || (i == len(chunks)-1) != (chunk.To == nil) {
			t.Errorf("chunk %d of %d has the bounds %v and %v", i, len(chunks), chunk.From, chunk.To)
		}
		if i > 0 && *chunk.From != *chunks[i-1].To {
			t.Errorf("chunk %d begins at %v, the one before it ends at %v", i, *chunk.From, *chunks[i-1].To)
		}
		if chunk.From != nil && chunk.To != nil && chunk.From.Compare(*chunk.To) >= 0 {
			t.Errorf("chunk %d ends where it begins, or before", i)
		}
	}
	// Every row lies in one chunk: bounds that follow each other are disjoint, so finding one is finding the one.
	held := make([]cell, len(chunks))
	places := make([]map[export.Position]bool, len(chunks))
	for _, row := range h.rows {
		i, found := slices.BinarySearchFunc(chunks, row.at, func(c export.Chunk, p export.Position) int {
			switch {
			case c.To != nil && c.To.Compare(p) <= 0:
				return -1
			case c.From != nil && c.From.Compare(p) > 0:
				return 1
			}
			return 0
		})
		if !found {
			t.Fatalf("the row at %+v is in no chunk", row.at)
		}
		held[i].rows, held[i].bytes = held[i].rows+1, held[i].bytes+row.bytes
		if places[i] == nil {
			places[i] = map[export.Position]bool{}
		}
		places[i][row.at] = true
	}
	for i, chunk := range chunks {
		if held[i].rows != chunk.Rows || held[i].bytes != chunk.Bytes {
			t.Errorf("chunk %d says %d rows and %d bytes, it holds %d and %d", i, chunk.Rows, chunk.Bytes, held[i].rows, held[i].bytes)
		}
		// Below the most that are allowed the aim has not grown: only what cannot be cut is larger.
		if len(chunks) < most/2 && asked.exceededBy(held[i]) && len(places[i]) > 1 {
			aim := aimFor([]cell{{rows: uint64(len(h.rows)), bytes: sum(held)}}, asked, most)
			if aim.exceededBy(held[i]) && !oneOffsetStretch(h, places[i]) {
				t.Errorf("chunk %d holds %d rows and %d bytes at %d places, aimed at were %+v", i, held[i].rows, held[i].bytes, len(places[i]), aim)
			}
		}
	}
	return chunks
}

func sum(cells []cell) (bytes uint64) {
	for _, c := range cells {
		bytes += c.bytes
	}
	return bytes
}

// oneOffsetStretch tells a chunk of `events` that lies within one block and team, whose rows are cut by offsets as if they
// were all alike.
func oneOffsetStretch(h inMemory, places map[export.Position]bool) bool {
	var first *export.Position
	for place := range places {
		place.Offset = 0
		if place.Source == "" {
			return false
		}
		if first == nil {
			first = &place
		} else if *first != place {
			return false
		}
	}
	return true
}

// The worst that a table can do: all rows at one time.
func TestAMillionRowsInOneMicrosecondAreCut(t *testing.T) {
	start := time.Unix(1_795_431_600, 0)
	interval := export.Interval{Start: start, End: start.Add(time.Hour)}
	random := rand.New(rand.NewPCG(1, 2))
	events, model := inMemory{place: eventsPlace}, inMemory{place: modelPlace(interval)}
	for i := range 1_000_000 {
		at := start.UnixMicro() + 77
		events.rows = append(events.rows, weighted{export.Position{Hour: start.Unix(), Team: 1, Arrival: at, Source: "c/t/0", Offset: uint64(i)}, 300})
		model.rows = append(model.rows, weighted{export.Position{Arrival: at, Key: random.Uint64()}, 300})
	}
	for name, h := range map[string]inMemory{"events": events, "a model": model} {
		chunks := holdPlan(t, h, target{rows: 10_000, bytes: 1 << 40}, 1000)
		if len(chunks) < 100 || len(chunks) > 200 {
			t.Errorf("%s: %d chunks of 10,000 rows at most", name, len(chunks))
		}
	}
}

func TestRefineRefusesRowsThatChanged(t *testing.T) {
	coarse := []cell{{export.Position{Hour: 3600, Team: 1}, 10, 0}}
	fine := []cell{{export.Position{Hour: 3600, Team: 1, Arrival: 3_600_000_005, Source: "s"}, 11, 0}}
	_, err := refine(coarse, coarse, fine, false)
	const want = "from 1970-01-01T01:00:00Z of team 1 on there were 10 rows and then 11: the interval is not closed, or its rows were changed"
	if err == nil || err.Error() != want {
		t.Errorf("refine = %v, want %q", err, want)
	}
}

func TestNoRowNoChunk(t *testing.T) {
	if chunks := cut(nil, target{10, 10}, 10); len(chunks) != 0 {
		t.Errorf("cut of nothing = %v", chunks)
	}
}
