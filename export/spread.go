package export

import (
	"hash/fnv"
	"time"
)

// Spread chooses n out of total places, 0 to total-1, ascending and evenly spread; on another day others, by a shift that the
// day and the export's name decide.
func Spread(total, n int, name string, day time.Time) []int {
	n = min(n, total)
	if n <= 0 {
		return nil
	}
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(name + day.UTC().Format(time.DateOnly))) // a hash takes everything
	shift := int(hash.Sum64() % uint64(total))
	places := make([]int, n)
	for i := range places {
		// The stretches [i·total/n, (i+1)·total/n) have a place each.
		from, to := i*total/n, (i+1)*total/n
		places[i] = from + shift%(to-from)
	}
	return places
}
