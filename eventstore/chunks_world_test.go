//go:build world

package eventstore_test

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/testworld"
)

// pastStart is the beginning of the interval that the tests load: two hours before a month ends, so that partitions and
// days change within it.
var pastStart = time.Date(2026, 3, 31, 22, 0, 0, 0, time.UTC)

// loadRandomPast loads blocks of several sources with random arrival times around [pastStart, pastStart + 4 h), on its very
// bounds too, and returns the uuids of the rows that lie in it, by team.
func loadRandomPast(t *testing.T, store *eventstore.Store, random *rand.Rand) (export.Interval, map[int64][]string) {
	t.Helper()
	interval := export.Interval{Start: pastStart, End: pastStart.Add(4 * time.Hour)}
	arrivals := []time.Time{interval.Start, interval.Start.Add(-time.Microsecond), interval.End, interval.End.Add(-time.Microsecond),
		interval.Start.Add(time.Hour), interval.Start.Add(time.Hour - time.Microsecond)}
	for range 40 {
		arrivals = append(arrivals, interval.Start.Add(time.Duration(random.Int64N(int64(5*time.Hour)))-30*time.Minute).Truncate(time.Microsecond))
	}
	sort.Slice(arrivals, func(i, j int) bool { return arrivals[i].Before(arrivals[j]) })
	want := map[int64][]string{}
	next := map[string]uint64{}
	var blocks []eventstore.Block
	for _, arrival := range arrivals {
		for _, source := range []string{"c/t/0", "c/t/1", "c/t/10", `c/t'\2`} {
			if random.IntN(3) == 0 {
				continue
			}
			rows := 1 + random.IntN(200)
			block := blockOf(random, source, next[source], arrival, rows, 1, 1, 1, 1+random.Int64N(5), 77)
			next[source] += uint64(rows)
			blocks = append(blocks, block)
			if arrival.Before(interval.Start) || !arrival.Before(interval.End) {
				continue
			}
			for _, row := range block.Rows {
				want[row.TeamID] = append(want[row.TeamID], row.UUID.String())
			}
		}
	}
	eventstoretest.LoadPast(t, store, blocks...)
	return interval, want
}

// readChunk reads a chunk to its end.
func readChunk(t *testing.T, store *eventstore.Store, query eventstore.ChunkQuery) []byte {
	t.Helper()
	stream, err := store.OpenChunk(t.Context(), query)
	if err != nil {
		t.Fatalf("OpenChunk: %v", err)
	}
	content, err := io.ReadAll(stream)
	if err != nil {
		t.Fatalf("read chunk %d: %v", query.Chunk.Index, err)
	}
	if err := stream.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return content
}

var plainJSON = export.Encoding{Format: export.FormatJSONEachRow, Compression: export.CompressionNone}

func TestChunksCoverEachRowOnceAndNoOthers(t *testing.T) {
	store := eventstoretest.New(t)
	random := testworld.Rand(t)
	interval, byTeam := loadRandomPast(t, store, random)
	var everybody []string
	for _, uuids := range byTeam {
		everybody = append(everybody, uuids...)
	}
	questions := map[string]struct {
		team export.Team
		want []string
	}{
		"all":            {export.Team{All: true}, everybody},
		"team 1":         {export.Team{ID: 1}, byTeam[1]},
		"team 77":        {export.Team{ID: 77}, byTeam[77]},
		"team of nobody": {export.Team{ID: 4711}, nil},
	}
	for name, question := range questions {
		for range 3 {
			target := uint64(1 + random.Int64N(3000))
			chunks, err := store.PlanChunks(t.Context(), eventstore.PlanQuery{Interval: interval, Team: question.team, TargetRows: target})
			if err != nil {
				t.Fatalf("PlanChunks: %v", err)
			}
			again, err := store.PlanChunks(t.Context(), eventstore.PlanQuery{Interval: interval, Team: question.team, TargetRows: target})
			if err != nil {
				t.Fatalf("PlanChunks: %v", err)
			}
			if diff := cmp.Diff(chunks, again); diff != "" {
				t.Errorf("%s: two plans of the same rows differ:\n%s", name, diff)
			}
			var got []string
			for _, chunk := range chunks {
				// As it comes back from JSON, like in a plan that was read.
				encoded, err := json.Marshal(chunk)
				if err != nil {
					t.Fatal(err)
				}
				chunk = export.Chunk{}
				if err := json.Unmarshal(encoded, &chunk); err != nil {
					t.Fatal(err)
				}
				content := readChunk(t, store, eventstore.ChunkQuery{Interval: interval, Team: question.team, Chunk: chunk, Encoding: plainJSON})
				lines := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
				if uint64(len(lines)) != chunk.Rows {
					t.Errorf("%s, target %d: chunk %d has %d rows, planned were %d", name, target, chunk.Index, len(lines), chunk.Rows)
				}
				for _, line := range lines {
					var row struct {
						UUID string `json:"uuid"`
						Team int64  `json:"team_id"`
					}
					if err := json.Unmarshal([]byte(line), &row); err != nil {
						t.Fatalf("%s: %v: %s", name, err, line)
					}
					if !question.team.All && row.Team != question.team.ID {
						t.Fatalf("%s: a row of team %d is in the file", name, row.Team)
					}
					got = append(got, row.UUID)
				}
			}
			sort.Strings(got)
			want := append([]string{}, question.want...)
			sort.Strings(want)
			if diff := cmp.Diff(want, append([]string{}, got...)); diff != "" {
				t.Errorf("%s, target %d, %d chunks: rows differ (-loaded +read):\n%s", name, target, len(chunks), diff)
			}
		}
	}
}

func TestPlanHasNoMoreChunksThanAllowed(t *testing.T) {
	store := eventstoretest.New(t)
	interval, _ := loadRandomPast(t, store, testworld.Rand(t))
	for _, most := range []int{1, 2, 7, 50} {
		chunks, err := store.PlanChunks(t.Context(), eventstore.PlanQuery{Interval: interval, Team: export.Team{All: true}, TargetRows: 1, MaxChunks: most})
		if err != nil {
			t.Fatal(err)
		}
		if len(chunks) > most || len(chunks) < most/2 {
			t.Errorf("%d chunks where %d are allowed", len(chunks), most)
		}
	}
}
