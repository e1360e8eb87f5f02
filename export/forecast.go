package export

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Forecast is how long runs may take.
type Forecast struct {
	From Duration `json:"from"`
	To   Duration `json:"to"`
	// Of says whose runs it was learned from: OfExport or OfAll.
	Of string `json:"of"`
	// Runs is from how many, and Rows how many rows the median of them had.
	Runs int    `json:"runs"`
	Rows uint64 `json:"rows"`
}

// Whose runs a forecast was learned from.
const (
	OfExport = "export"
	OfAll    = "all exports"
)

// Pace is how fast a published run was.
type Pace struct {
	Rows uint64
	// Took is the time from its plan to its publication.
	Took time.Duration
}

const (
	// comparableRuns is how many runs a forecast is learned from, the nearest in size.
	comparableRuns = 20
	// fewRuns are too few to tell how much runs differ: the range is widened by half.
	fewRuns = 3
)

// NewForecast tells how long runs of so many rows take one after the other, by the paces of past ones. Of those that had rows
// the nearest in size to the greater part of the rows count, since a small run is slow for its rows; a run takes at least as long
// as the quickest of them did, whatever its size. A run without rows takes what such runs took, which is all the work beside the
// rows. Nil when nothing is known.
func NewForecast(of string, past []Pace, runs []uint64) *Forecast {
	past = slices.DeleteFunc(slices.Clone(past), func(p Pace) bool { return p.Took <= 0 })
	var empty []Pace
	for _, p := range past {
		if p.Rows == 0 {
			empty = append(empty, p)
		}
	}
	past = slices.DeleteFunc(past, func(p Pace) bool { return p.Rows == 0 })
	slices.SortFunc(empty, func(a, b Pace) int { return cmp.Compare(a.Took, b.Took) })
	switch {
	case len(runs) == 0:
		return nil
	case slices.Max(runs) == 0 && len(empty) > 0:
		quick, slow := emptyRuns(empty)
		n := time.Duration(len(runs))
		return &Forecast{From: rounded(n * quick), To: rounded(n * slow), Of: of, Runs: len(empty)}
	case len(past) == 0:
		return nil
	}
	least := slices.MinFunc(past, func(a, b Pace) int { return cmp.Compare(a.Took, b.Took) }).Took
	typical := math.Log(float64(max(typicalRows(runs), 1)))
	slices.SortStableFunc(past, func(a, b Pace) int {
		return cmp.Compare(math.Abs(math.Log(float64(a.Rows))-typical), math.Abs(math.Log(float64(b.Rows))-typical))
	})
	past = past[:min(len(past), comparableRuns)]
	rate := func(p Pace) float64 { return float64(p.Rows) / p.Took.Seconds() }
	slices.SortFunc(past, func(a, b Pace) int { return cmp.Compare(rate(a), rate(b)) })
	slow, fast := rate(past[len(past)/10]), rate(past[len(past)-1-len(past)/10])
	if len(past) < fewRuns {
		slow, fast = slow/1.5, fast*1.5
	}
	quick, slowest := least, least
	if len(empty) > 0 {
		quick, slowest = emptyRuns(empty)
	}
	var from, to time.Duration
	for _, rows := range runs {
		if rows == 0 {
			from, to = from+quick, to+slowest
			continue
		}
		from += max(least, seconds(float64(rows)/fast))
		to += max(least, seconds(float64(rows)/slow))
	}
	slices.SortFunc(past, func(a, b Pace) int { return cmp.Compare(float64(a.Rows), float64(b.Rows)) })
	return &Forecast{From: rounded(from), To: rounded(to), Of: of, Runs: len(past), Rows: past[len(past)/2].Rows}
}

// emptyRuns are what the quickest and the slowest of runs without rows took, the outer tenths left out.
func emptyRuns(sorted []Pace) (quick, slow time.Duration) {
	return sorted[len(sorted)/10].Took, sorted[len(sorted)-1-len(sorted)/10].Took
}

// typicalRows is the size of run that the middle row of all is in.
func typicalRows(runs []uint64) uint64 {
	sorted := slices.Sorted(slices.Values(runs))
	total, passed := 0.0, 0.0
	for _, rows := range sorted {
		total += float64(rows)
	}
	for _, rows := range sorted {
		if passed += float64(rows); passed >= total/2 {
			return rows
		}
	}
	return 0
}

func seconds(s float64) time.Duration {
	if s > float64(math.MaxInt64/int64(time.Second))/1e6 {
		return time.Duration(math.MaxInt64 / 1_000_000) // longer than anybody waits; a sum of a million cannot overflow
	}
	return time.Duration(s * float64(time.Second))
}

// Rounded leaves as many digits as a forecast has.
func (d Duration) Rounded() Duration { return rounded(time.Duration(d)) }

func rounded(d time.Duration) Duration {
	unit := 100 * time.Millisecond
	switch {
	case d >= 100*time.Minute:
		unit = time.Minute
	case d >= 10*time.Second:
		unit = time.Second
	}
	return Duration(max(d.Round(unit), unit))
}
