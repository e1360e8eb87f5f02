package loader

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/event"
)

// The window against the plainest thing that does the same.
func TestAWindowFindsWhatItHoldsAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 1<<40).Draw(t, "start")
		most := rapid.Int64Range(0, 3000).Draw(t, "most")
		w := newWindow(start, rapid.Int64Range(0, most).Draw(t, "usual"), most)
		defer w.close()
		// Keys that crowd each other: of few homes, and some that agree in all that a reference has of them.
		keys := rapid.Custom(func(t *rapid.T) key {
			return key{rapid.Uint32Range(0, 3).Draw(t, "home") << 30, rapid.Uint32Range(0, 20).Draw(t, "middle"), 7 + rapid.Uint32Range(0, 1).Draw(t, "mark")<<31}
		})
		plain := map[int64]key{}
		next := start
		for range rapid.IntRange(0, 3000).Draw(t, "steps") {
			switch rapid.IntRange(0, 19).Draw(t, "step") {
			case 0:
				before := next - rapid.Int64Range(0, 400).Draw(t, "kept")
				w.forget(before)
				for offset := range plain {
					if offset < before {
						delete(plain, offset)
					}
				}
			case 1:
				next += rapid.Int64Range(1, 5).Draw(t, "gap")
				w.skip(next)
			default:
				k := keys.Draw(t, "key")
				want := false
				for _, held := range plain {
					want = want || held == k
				}
				if got := w.add(next, k); got != want {
					t.Fatalf("offset %d: seen is %v, want %v", next, got, want)
				}
				plain[next] = k
				next++
			}
			if w.end > next || w.from > w.end {
				t.Fatalf("the window is [%d, %d) at %d", w.from, w.end, next)
			}
		}
		w.forget(next)
		for i, b := range w.buckets {
			if b != (bucket{}) {
				t.Fatalf("all is forgotten, and bucket %d is %v", i, b)
			}
		}
	})
}

func TestAFullWindowTakesLessThan18MB(t *testing.T) {
	const held = 1_000_000
	w := newWindow(0, held+held/128, held+100_000)
	defer w.close()
	size := func() int { return len(w.held[0].memory) + len(w.held[1].memory) }
	most := 0
	for offset := range int64(2_200_000) {
		if offset%4_000 == 0 {
			w.forget(offset - held)
		}
		keys := len(w.held[0].memory)
		w.add(offset, numbered(offset))
		most = max(most, size())
		if grown := len(w.held[0].memory); grown != keys { // the old keys are copied before the new buckets are made
			most = max(most, keys+grown)
		}
	}
	if most > 18_000_000 {
		t.Errorf("the window takes %d bytes", most)
	}
	if !w.add(2_200_000, numbered(1_500_000)) {
		t.Error("a key that is held is not found")
	}
	if w.add(2_200_001, numbered(1_100_000)) {
		t.Error("a key that was forgotten is found")
	}
	w.forget(2_200_002 - held)
	for offset := range int64(100_000) { // a block of as many rows as it may have
		w.add(2_200_002+offset, numbered(-offset))
	}
	if size() > 20_000_000 {
		t.Errorf("with a block of 100,000 the window takes %d bytes", size())
	}
}

// numbered is a key as it may come out of a hash.
func numbered(n int64) key {
	hash := uint64(n) * 0x9E3779B97F4A7C15
	hash ^= hash >> 29
	hash *= 0xBF58476D1CE4E5B9
	return key{uint32(hash >> 32), uint32(hash), uint32(n)}
}

func TestAWindowIsEmptyAfterItsClose(t *testing.T) {
	w := newWindow(10, 100, 100)
	w.close()
	w.add(10, numbered(1))
	w.close()
	w.close()
	if w.add(5, numbered(1)) {
		t.Error("a key is found that was let go")
	}
	w.close()
}

// Each part of an event's identity tells it from others, and no part runs into the next.
func TestAKeyDependsOnEachPartOfTheIdentity(t *testing.T) {
	seen := map[key]event.Identity{}
	for _, identity := range []event.Identity{
		{TeamID: 1, UUID: uuid.UUID{1}, Event: "e", DistinctID: "d", Timestamp: []byte("t")},
		{TeamID: 2, UUID: uuid.UUID{1}, Event: "e", DistinctID: "d", Timestamp: []byte("t")},
		{TeamID: 1, UUID: uuid.UUID{2}, Event: "e", DistinctID: "d", Timestamp: []byte("t")},
		{TeamID: 1, UUID: uuid.UUID{1}, Event: "f", DistinctID: "d", Timestamp: []byte("t")},
		{TeamID: 1, UUID: uuid.UUID{1}, Event: "e", DistinctID: "c", Timestamp: []byte("t")},
		{TeamID: 1, UUID: uuid.UUID{1}, Event: "e", DistinctID: "d", Timestamp: []byte("u")},
		{TeamID: 1, UUID: uuid.UUID{1}, Event: "e", DistinctID: "d"},
		{TeamID: 1, UUID: uuid.UUID{1}, Event: "ed", DistinctID: "", Timestamp: []byte("t")},
		{TeamID: 1, UUID: uuid.UUID{1}, Event: "", DistinctID: "ed", Timestamp: []byte("t")},
		{TeamID: 1, UUID: uuid.UUID{1}, Event: "", DistinctID: "d", Timestamp: []byte("te")},
	} {
		k := keyOf(identity)
		if other, is := seen[k]; is || k != keyOf(identity) || k == (key{}) {
			t.Errorf("%v has the key %v, and so has %v", identity, k, other)
		}
		seen[k] = identity
	}
}

func BenchmarkAFullWindow(b *testing.B) {
	const held = 1_000_000
	w := newWindow(0, held+held/128, held+100_000)
	defer w.close()
	for offset := range int64(held) {
		w.add(offset, numbered(offset))
	}
	for next := int64(held); b.Loop(); next++ {
		if next%4_000 == 0 {
			w.forget(next - held)
		}
		w.add(next, numbered(next))
	}
}

func BenchmarkKey(b *testing.B) {
	identity := event.Identity{TeamID: 1, UUID: uuid.UUID{1}, Event: "$pageview", DistinctID: "user-0123456", Timestamp: fmt.Appendf(nil, "%q", "2026-11-23T17:59:59.250Z")}
	for b.Loop() {
		keyOf(identity)
	}
}
