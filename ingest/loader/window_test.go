package loader

import (
	"testing"

	"pgregory.net/rapid"
)

// The window against the plainest thing that does the same.
func TestAWindowFindsWhatItHoldsAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 1<<40).Draw(t, "start")
		w := newWindow(start, rapid.Int64Range(0, 3000).Draw(t, "most"))
		plain := map[int64]key{}
		next := start
		for range rapid.IntRange(0, 3000).Draw(t, "steps") {
			switch rapid.IntRange(0, 19).Draw(t, "step") {
			case 0:
				before := next - rapid.Int64Range(0, 50).Draw(t, "kept")
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
				k := key{rapid.Uint64Range(1, 40).Draw(t, "low") << 3, 7} // keys that crowd each other
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
	})
}

func TestAFullWindowTakesLessThan32MB(t *testing.T) {
	w := newWindow(0, 1_100_000)
	most := 0
	for offset := range int64(2_200_000) {
		if offset%100_000 == 0 {
			w.forget(offset - 1_000_000)
		}
		keys := len(w.keys)
		w.add(offset, key{uint64(offset) * 0x9E3779B97F4A7C15, uint64(offset)})
		most = max(most, 16*len(w.keys)+4*len(w.slots))
		if len(w.keys) != keys { // the old keys are copied before the new slots are made
			most = max(most, 16*(keys+len(w.keys)))
		}
	}
	if most > 32_000_000 {
		t.Errorf("the window takes %d bytes", most)
	}
	if !w.add(2_200_000, w.keys[1_500_000%len(w.keys)]) {
		t.Error("a key that is held is not found")
	}
}
