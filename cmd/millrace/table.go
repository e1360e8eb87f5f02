package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/internal/telemetry"
)

// table is a list with a header. On a terminal it fits the width, by as much of this as is needed: cells become short; or
// details go below their rows, wrapped; or both; then columns are left out, and a line says which; and what is still too
// long is cut. Elsewhere than on a terminal a row is one line and has everything.
type table struct {
	columns []column
	rows    []tableRow
	// detail is the header of the rows' details, which are too long for a column.
	detail string
}

type column struct {
	header string
	// short is the header over short cells; empty where it is the same.
	short string
	// spare says when a column is left out: the greatest first, and never where it is 0.
	spare int
}

type tableRow struct {
	cells  []cell
	detail string
}

// cell is what stands in a column, and a shorter way to say it; empty when there is none.
type cell struct{ text, short string }

// cells are cells of which there is no shorter form.
func cells(texts ...string) []cell {
	made := make([]cell, len(texts))
	for i, text := range texts {
		made[i] = cell{text: text}
	}
	return made
}

// printTable prints columns of which none is spared.
func printTable(w io.Writer, header []string, lines [][]string) {
	t := table{}
	for _, name := range header {
		t.columns = append(t.columns, column{header: name})
	}
	for _, line := range lines {
		t.rows = append(t.rows, tableRow{cells: cells(line...)})
	}
	t.print(w)
}

func (t table) print(w io.Writer) { t.printWithin(w, telemetry.Columns(w)) }

// printWithin prints for a terminal of so many columns; 0 is for none.
func (t table) printWithin(w io.Writer, width int) {
	inline := t.withDetails()
	if width == 0 || inline.width() <= width {
		inline.write(w, 0)
		return
	}
	if inline = inline.short(); inline.width() <= width {
		inline.write(w, 0)
		return
	}
	fitting := t
	if fitting.width() > width {
		fitting = fitting.short()
	}
	var left []string
	for fitting.width() > width {
		most, spare := -1, 0
		for i, column := range fitting.columns {
			if column.spare > spare {
				most, spare = i, column.spare
			}
		}
		if most < 0 {
			break
		}
		left = append(left, fitting.columns[most].header)
		fitting = fitting.without(most)
	}
	fitting.write(w, width)
	if len(left) > 0 {
		fmt.Fprintln(w, strings.Join(wrapped(fmt.Sprintf("(no room for %s: --json has all)", strings.Join(left, ", ")), width), "\n"))
	}
}

// withDetails has the details as a last column.
func (t table) withDetails() table {
	if t.detail == "" {
		return t
	}
	wide := table{columns: append(slices.Clone(t.columns), column{header: t.detail})}
	for _, r := range t.rows {
		wide.rows = append(wide.rows, tableRow{cells: append(slices.Clone(r.cells), cell{text: r.detail})})
	}
	return wide
}

func (t table) short() table {
	shorter := table{columns: slices.Clone(t.columns), detail: t.detail}
	for i, c := range shorter.columns {
		shorter.columns[i].header = cmp.Or(c.short, c.header)
	}
	for _, r := range t.rows {
		r.cells = slices.Clone(r.cells)
		for i, c := range r.cells {
			r.cells[i].text = cmp.Or(c.short, c.text)
		}
		shorter.rows = append(shorter.rows, r)
	}
	return shorter
}

func (t table) without(at int) table {
	narrower := table{columns: slices.Delete(slices.Clone(t.columns), at, at+1), detail: t.detail}
	for _, r := range t.rows {
		r.cells = slices.Delete(slices.Clone(r.cells), at, at+1)
		narrower.rows = append(narrower.rows, r)
	}
	return narrower
}

// gap is between two columns.
const gap = 2

func (t table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, column := range t.columns {
		widths[i] = utf8.RuneCountInString(column.header)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row.cells[i].text))
		}
	}
	return widths
}

func (t table) width() int {
	total := gap * (len(t.columns) - 1)
	for _, width := range t.widths() {
		total += width
	}
	return total
}

// write writes lines of at most width letters; 0 is no bound, and then the details are among the columns.
func (t table) write(w io.Writer, width int) {
	widths := t.widths()
	line := func(texts []string) {
		var made strings.Builder
		for i, text := range texts {
			made.WriteString(text + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+gap))
		}
		text := strings.TrimRight(made.String(), " ")
		if width > 0 {
			text = cut(text, width)
		}
		fmt.Fprintln(w, text)
	}
	var headers []string
	for _, column := range t.columns {
		headers = append(headers, column.header)
	}
	line(headers)
	for _, row := range t.rows {
		var texts []string
		for _, cell := range row.cells {
			texts = append(texts, cell.text)
		}
		line(texts)
		if width > 0 && row.detail != "" {
			for _, part := range wrapped(row.detail, width-gap) {
				fmt.Fprintf(w, "%*s%s\n", gap, "", part)
			}
		}
	}
}

// printWrapped prints a sentence, wrapped on a terminal.
func printWrapped(w io.Writer, text string) { printHanging(w, telemetry.Columns(w), "", text) }

// printHanging prints a sentence behind a lead, wrapped to a terminal of width columns: what goes on stands below the sentence's
// beginning. 0 is for none.
func printHanging(w io.Writer, width int, lead, text string) {
	indent, lines := utf8.RuneCountInString(lead), []string{text}
	if width > 0 {
		lines = wrapped(text, width-indent)
	}
	for _, line := range lines {
		fmt.Fprintf(w, "%s%s\n", lead, line)
		lead = strings.Repeat(" ", indent)
	}
}

// wrapped breaks a text into lines of at most width letters, between words where it can.
func wrapped(text string, width int) []string {
	width = max(width, 1)
	var lines []string
	for line := range strings.Lines(text) {
		rest := []rune(strings.TrimRight(line, " \n"))
		for len(rest) > width {
			at := width
			for at > 0 && rest[at] != ' ' {
				at--
			}
			if at == 0 {
				at = width // one word that is longer than a line
			}
			lines = append(lines, strings.TrimRight(string(rest[:at]), " "))
			rest = []rune(strings.TrimLeft(string(rest[at:]), " "))
		}
		lines = append(lines, string(rest))
	}
	return lines
}
