package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/telemetry"
)

// columns is how wide a terminal is taken to be.
const columns = 100

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

// printTable aligns rows under a header. On a terminal a line that is too long is cut, and the last column should be
// the one that can bear it; elsewhere nothing is cut.
func printTable(w io.Writer, header []string, rows [][]string) {
	var text bytes.Buffer
	aligned := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		fmt.Fprintln(aligned, strings.Join(row, "\t"))
	}
	_ = aligned.Flush() // a buffer takes everything
	terminal := telemetry.IsTerminal(w)
	for line := range strings.Lines(text.String()) {
		line = strings.TrimRight(line, " \n")
		if terminal {
			line = cut(line, columns)
		}
		fmt.Fprintln(w, line)
	}
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

// printRunbooks says in general what each kind of error means, once, and where to read what to do.
func (p *program) printRunbooks(kinds []export.Kind) {
	slices.Sort(kinds)
	for _, kind := range slices.Compact(kinds) {
		if page := kind.Runbook(); page != "" {
			fmt.Fprintf(p.err, "%s: %s What to do: %s\n", kind, kind.Sentence(), page)
		}
	}
}
