//go:build world

package assumptions

import (
	"fmt"
	"strings"
	"testing"
)

// roundDown finds, in a list of ten thousand that stands in the query, the greatest number that is not above: that is how
// rows are counted by days of a time zone.
func TestClickHouseRoundsDownToANumberOfALongList(t *testing.T) {
	d := newDatabase(t)
	const first, count = 1_700_000_000, 10_000
	var starts []string
	next := int64(first)
	for i := range count {
		starts = append(starts, fmt.Sprint(next))
		next += 86_400 - int64(i%3)*3600
	}
	list := "[" + strings.Join(starts, ",") + "]"
	for _, i := range []int{0, 1, 2, 3, 4_999, count - 1} {
		for _, beyond := range []string{"0", "1", "79199"} {
			at := "toInt64(" + starts[i] + ") + " + beyond
			if got := d.count(t, fmt.Sprintf("SELECT toUInt64(roundDown(%s, %s))", at, list)); fmt.Sprint(got) != starts[i] {
				t.Errorf("%s goes down to %d", at, got)
			}
		}
	}
	if got := d.count(t, fmt.Sprintf("SELECT toUInt64(roundDown(toInt64(%d), %s))", first-1, list)); got != first {
		t.Errorf("what is below all of the list goes to %d", got)
	}
}
