package main

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/export"
)

// printEstimate prints what runs would do: figures, then how the rows would stand at the destination, then a sample.
func (p *program) printEstimate(definition export.Definition, e export.Estimate) error {
	if p.json {
		return p.printJSON(e)
	}
	what := plural(e.Intervals, "interval") + " of " + definition.Every.String()
	if e.Intervals > 1 && e.Empty > 0 {
		what += fmt.Sprintf(", %s of them without rows", count(e.Empty))
	}
	fmt.Fprintf(p.out, "%s, %s: %s\n\n", e.Export, e.Span, what)
	for _, line := range estimateLines(e) {
		fmt.Fprintf(p.out, "  %-9s %s\n", line[0], strings.ReplaceAll(wrap(line[1], columns-12), "\n", "\n            "))
	}
	p.printArrangement(e.Destination)
	p.printSample(e)
	for _, note := range e.Notes {
		fmt.Fprintf(p.err, "note: %s\n", note)
	}
	return nil
}

// estimateLines are the figures, each with its name.
func estimateLines(e export.Estimate) [][2]string {
	lines := [][2]string{{"rows", count(e.Rows)}}
	if e.Incomplete != "" {
		lines[0][1] += " so far: the range is not complete yet (" + e.Incomplete + ")"
	}
	lines = append(lines, [2]string{"bytes", size(e.Bytes) + bytesBy(e)})
	chunks := count(e.Chunks)
	if !e.ChunksPlanned {
		chunks += fmt.Sprintf(" or so: %d of the large intervals were planned, and the others have as many for their size", e.PlannedIntervals)
	}
	lines = append(lines, [2]string{"chunks", chunks}, [2]string{"files", count(e.Files)}, [2]string{"reads", readsOf(e.Source)}, [2]string{"takes", takes(e)})
	if e.Published.Runs > 0 {
		lines = append(lines, [2]string{"published", fmt.Sprintf("%s, with %s rows and %s: they write nothing again", plural(e.Published.Runs, "run"), count(e.Published.Rows), size(e.Published.Bytes))})
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

func takes(e export.Estimate) string {
	f := e.Duration
	if f == nil {
		return "not known: the ledger has no run with rows yet"
	}
	text := f.From.String()
	if f.To != f.From {
		text += " to " + f.To.String()
	}
	if e.Intervals > 1 {
		text += " one after the other"
	}
	whose := "of this export"
	if f.Of == export.OfAll {
		whose = "of all exports"
	}
	return fmt.Sprintf("%s, by %s %s with about %s rows", text, plural(f.Runs, "run"), whose, count(f.Rows))
}

func (p *program) printArrangement(a export.Arrangement) {
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
	fmt.Fprintf(p.out, "\n%s\n", place)
	same := true
	for _, column := range a.Columns {
		same = same && column.Type == column.Source
	}
	var rows [][]string
	header := []string{"  COLUMN", "TYPE", "CLICKHOUSE"}
	for _, column := range a.Columns {
		rows = append(rows, []string{"  " + column.Name, column.Type, column.Source})
		if same {
			rows[len(rows)-1] = rows[len(rows)-1][:2]
		}
	}
	if same {
		header = header[:2]
	}
	if len(rows) > 0 {
		printTable(p.out, header, rows)
	}
	if a.Problem != "" {
		fmt.Fprintf(p.err, "warning: a run would fail at the destination: %s\n", a.Problem)
	}
}

// printSample prints a line for each value, since rows are wider than a terminal.
func (p *program) printSample(e export.Estimate) {
	if e.Sample == nil {
		return
	}
	fmt.Fprintf(p.out, "\nsample of %s", plural(len(e.Sample.Rows), "row"))
	if e.Sample.Cut > 0 {
		fmt.Fprintf(p.out, ", %s cut after %d letters", plural(e.Sample.Cut, "value"), export.SampleText)
	}
	fmt.Fprintln(p.out)
	for i, row := range e.Sample.Rows {
		if i > 0 {
			fmt.Fprintln(p.out)
		}
		var values [][]string
		for j, column := range e.Destination.Columns {
			value := "NULL"
			if row[j] != nil {
				value = visible(*row[j])
			}
			values = append(values, []string{"  " + column.Name, value})
		}
		printTable(p.out, values[0], values[1:])
	}
}

// visible keeps a value on its line.
func visible(value string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`, "\r", `\r`, "\x1b", `\x1b`).Replace(value)
}

// wrap breaks a text into lines of at most so many letters, at spaces.
func wrap(text string, letters int) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > letters {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return strings.Join(append(lines, line), "\n")
}
