package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/export"
)

// printJSON writes one indented JSON value.
func (p *program) printJSON(value any) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// printJSONLine writes one JSON value on a line of its own, for programs that read while more is to come.
func (p *program) printJSONLine(value any) {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // to somebody who has stopped reading
}

// cut shortens a line to a number of letters, the last of which then is an ellipsis.
func cut(line string, to int) string {
	letters := []rune(line)
	if len(letters) <= to {
		return line
	}
	return string(letters[:to-1]) + "…"
}

// count writes a number as people read it: 1,299,034.
func count[N int | int64 | uint64](n N) string {
	digits := strconv.FormatUint(uint64(n), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// size writes bytes as people read them: 512 B, 1.5 KiB, 12.0 MiB.
func size(bytes uint64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%d B", bytes)
	}
	amount, unit := float64(bytes)/1024, 0
	for amount >= 1024 && unit < 3 {
		amount, unit = amount/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", amount, "KMGT"[unit])
}

// clock writes a time in UTC, to the second; a dash for none.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// moment is a time as clock writes it, and shorter, in UTC, where there is less room.
func moment(t time.Time) cell {
	if t.IsZero() {
		return cell{text: clock(t)}
	}
	return cell{text: clock(t), short: t.UTC().Format("2006-01-02 " + clockOf(t))}
}

// spans writes intervals as commands take them, and shorter, in UTC, where there is less room: 2026-11-23 10:00–11:00. A year
// that all of them have stands above them.
type spans struct{ year int } // 0 where they differ

func spansOf[T any](list []T, interval func(T) export.Interval) spans {
	year := 0
	for i, one := range list {
		from, to := interval(one).Start.UTC().Year(), interval(one).End.UTC().Add(-1).Year()
		if i == 0 {
			year = from
		}
		if from != year || to != year {
			return spans{}
		}
	}
	return spans{year}
}

func (s spans) column() column {
	made := column{header: "INTERVAL"}
	if s.year != 0 {
		made.short = fmt.Sprintf("INTERVAL %d", s.year)
	}
	return made
}

// cell writes one interval. The end of a day is 24:00 where it began on that day.
func (s spans) cell(interval export.Interval) cell {
	start, end, day := interval.Start.UTC(), interval.End.UTC(), "2006-01-02 "
	if s.year != 0 {
		day = "01-02 "
	}
	form := clockOf(start, end)
	until := end.Format(form)
	if lastDay := end.Add(-1).Format(time.DateOnly); lastDay != start.Format(time.DateOnly) {
		until = end.Format("2006-01-02 " + form)
		if end.Year() == start.Year() {
			until = end.Format("01-02 " + form)
		}
	} else if lastDay != end.Format(time.DateOnly) {
		until = "24" + strings.TrimPrefix(until, "00")
	}
	return cell{text: interval.String(), short: start.Format(day+form) + "–" + until}
}

// clockOf is the form of times of day, with seconds only where there are some.
func clockOf(times ...time.Time) string {
	for _, t := range times {
		if t.Second() != 0 {
			return "15:04:05"
		}
	}
	return "15:04"
}

// printRunbooks says in general what each kind of error means, once, and where to read what to do.
func (p *program) printRunbooks(kinds []export.Kind) {
	slices.Sort(kinds)
	for _, kind := range slices.Compact(kinds) {
		if page := kind.Runbook(); page != "" {
			fmt.Fprintf(p.err, "%s: %s What to do: %s\n", kind, kind.Sentence(), page)
		}
	}
}
