package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/telemetry"
)

// printEstimate prints an estimate of runs of which so many are under way at once.
func (p *program) printEstimate(definition export.Definition, e export.Estimate, parallel int) error {
	if p.json {
		return p.printJSON(e)
	}
	printEstimate(p.out, telemetry.Columns(p.out), definition, e, parallel)
	if problem := e.Destination.Problem; problem != "" {
		fmt.Fprintf(p.err, "warning: a run would fail at the destination: %s\n", problem)
	}
	for _, note := range e.Notes {
		fmt.Fprintf(p.err, "note: %s\n", note)
	}
	return nil
}

// printEstimate prints what runs would do: figures, then how the rows would stand at the destination, then a sample. Lines
// fit a terminal of width columns; 0 is for none.
func printEstimate(w io.Writer, width int, definition export.Definition, e export.Estimate, parallel int) {
	what := plural(e.Intervals, "interval") + " of " + definition.Every.String()
	if e.Intervals > 1 && e.Empty > 0 {
		what += fmt.Sprintf(", %s of them without rows", count(e.Empty))
	}
	title := []string{fmt.Sprintf("%s, %s: %s", e.Export, e.Span, what)}
	if width > 0 {
		title = wrapped(title[0], width)
	}
	fmt.Fprintf(w, "%s\n\n", strings.Join(title, "\n"))
	printNamed(w, width, estimateLines(e, parallel))
	printArrangement(w, width, e.Destination)
	printSample(w, width, e)
}

// printNamed prints texts behind their names, wrapped.
func printNamed(w io.Writer, width int, lines [][2]string) {
	longest := 0
	for _, line := range lines {
		longest = max(longest, utf8.RuneCountInString(line[0]))
	}
	for _, line := range lines {
		name, parts := line[0], []string{line[1]}
		if width > 0 {
			parts = wrapped(line[1], width-longest-2*gap)
		}
		for _, part := range parts {
			fmt.Fprintf(w, "%*s%-*s%*s%s\n", gap, "", longest, name, gap, "", part)
			name = ""
		}
	}
}

// estimateLines are the figures, each with its name.
func estimateLines(e export.Estimate, parallel int) [][2]string {
	lines := [][2]string{{"rows", count(e.Rows)}}
	if e.Incomplete != "" {
		lines[0][1] += " so far: the range is not complete yet (" + e.Incomplete + ")"
	}
	lines = append(lines, [2]string{"bytes", size(e.Bytes) + bytesBy(e)})
	chunks := count(e.Chunks)
	if !e.ChunksPlanned {
		chunks += fmt.Sprintf(" or so: %d of the large intervals were planned, and the others have as many for their size", e.PlannedIntervals)
	}
	lines = append(lines, [2]string{"chunks", chunks}, [2]string{"files", count(e.Files)}, [2]string{"reads", readsOf(e.Source)}, [2]string{"takes", takes(e, parallel)})
	if e.Published.Runs > 0 {
		lines = append(lines, [2]string{"published", fmt.Sprintf("%s, with %s rows and %s: they write nothing again", plural(e.Published.Runs, "run"), count(e.Published.Rows), size(e.Published.Bytes))},
			[2]string{"left", fmt.Sprintf("%s, with %s rows", plural(e.Left.Runs, "run"), count(e.Left.Rows))})
	}
	return lines
}

func bytesBy(e export.Estimate) string {
	switch {
	case e.Rows == 0:
		return ""
	case e.BytesFrom == export.BytesEncoded:
		return ", all of it encoded to see"
	case e.BytesFrom == export.BytesSample:
		return fmt.Sprintf(", by a sample: %s rows in %s were encoded", count(e.Encoded.Rows), plural(e.Encoded.Chunks, "chunk"))
	case e.BytesFrom == export.BytesLedger:
		return ", by the bytes of a row in the latest runs of the same definition"
	}
	return " of values, before they are encoded"
}

func readsOf(read export.SourceRead) string {
	if len(read.Tables) == 0 {
		return "nothing that ClickHouse can estimate"
	}
	return fmt.Sprintf("%s of the %s rows of %s, each time: to plan, to write, to hash", count(read.Rows), count(read.Total), strings.Join(read.Tables, ", "))
}

func takes(e export.Estimate, parallel int) string {
	f := e.Duration
	if e.Left.Runs == 0 && e.Published.Runs > 0 {
		return "nothing: all of it is published"
	}
	if f == nil {
		return "not known: the ledger has no run with rows yet"
	}
	atOnce := min(max(parallel, 1), max(e.Left.Runs, 1))
	from, to := (f.From / export.Duration(atOnce)).Rounded(), (f.To / export.Duration(atOnce)).Rounded()
	text := from.String()
	if to != from {
		text += " to " + to.String()
	}
	switch {
	case atOnce > 1:
		text += fmt.Sprintf(" with %d at once", atOnce)
	case e.Left.Runs > 1:
		text += " one after the other"
	}
	whose := "of this export"
	if f.Of == export.OfAll {
		whose = "of all exports"
	}
	with := "without rows"
	if f.Rows > 0 {
		with = fmt.Sprintf("with about %s rows", count(f.Rows))
	}
	return fmt.Sprintf("%s, by %s %s %s", text, plural(f.Runs, "run"), whose, with)
}

func printArrangement(w io.Writer, width int, a export.Arrangement) {
	place := a.Place
	if place == "" {
		place = a.Kind
	}
	if a.Format.Format != "" {
		place += ", as " + string(a.Format.Format)
		if a.Format.Compression != export.CompressionNone {
			place += " with " + string(a.Format.Compression)
		}
	}
	fmt.Fprintf(w, "\n%s\n", place)
	same := true
	for _, column := range a.Columns {
		same = same && column.Type == column.Source
	}
	listed := table{columns: []column{{header: "  COLUMN"}, {header: "TYPE"}, {header: "CLICKHOUSE", spare: 1}}}
	for _, column := range a.Columns {
		listed.rows = append(listed.rows, tableRow{cells: cells("  "+column.Name, column.Type, column.Source)})
	}
	if same { // as in files
		listed = listed.without(2)
	}
	if len(a.Columns) > 0 {
		listed.printWithin(w, width)
	}
}

// printSample prints a line for each value, since rows are wider than a terminal.
func printSample(w io.Writer, width int, e export.Estimate) {
	if e.Sample == nil {
		return
	}
	fmt.Fprintf(w, "\nsample of %s", plural(len(e.Sample.Rows), "row"))
	if e.Sample.Cut > 0 {
		fmt.Fprintf(w, ", %s cut after %d letters", plural(e.Sample.Cut, "value"), export.SampleText)
	}
	fmt.Fprintln(w)
	for i, row := range e.Sample.Rows {
		if i > 0 {
			fmt.Fprintln(w)
		}
		var values [][2]string
		for j, column := range e.Destination.Columns {
			value := "NULL"
			if row[j] != nil {
				value = visible(*row[j])
			}
			values = append(values, [2]string{column.Name, value})
		}
		printNamed(w, width, values)
	}
}

// visible keeps a value on its line.
func visible(value string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`, "\r", `\r`, "\x1b", `\x1b`).Replace(value)
}
