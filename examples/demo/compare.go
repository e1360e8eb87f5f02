package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Reader reads all exported files in a way of its own.
type Reader interface {
	// Name is how the report calls it.
	Name() string
	// Read hands over every row, in any order, and returns the totals that it added up itself.
	Read(ctx context.Context, each func(Row) error) (Totals, error)
}

// Comparison is what one reader found, held against what was sent.
type Comparison struct {
	Reader  string
	Totals  Totals
	Wanted  Totals
	IDs     int // different ids that were sent and came back
	Missing int // ids that were sent and did not come back
	Doubled int // rows whose id came before
	Unknown int // rows whose id was never sent
	Changed int // rows of which anything but the id differs
	Strange int // strange events that came back to the byte
	// Examples describe the first rows that differ.
	Examples []string
	Took     time.Duration
}

// OK says whether exactly what was sent came back.
func (c Comparison) OK() bool {
	return c.Totals == c.Wanted && c.Missing == 0 && c.Doubled == 0 && c.Unknown == 0 && c.Changed == 0
}

// compare reads everything and holds each row against the one that was sent under its id.
func compare(ctx context.Context, reader Reader, sent []Row, totals Totals) (Comparison, error) {
	began := time.Now()
	comparison := Comparison{Reader: reader.Name(), Wanted: totals}
	byID := make(map[string]int, len(sent))
	for i, row := range sent {
		byID[row.UUID] = i
	}
	seen := make([]bool, len(sent))
	var err error
	comparison.Totals, err = reader.Read(ctx, func(row Row) error {
		i, known := byID[row.UUID]
		switch {
		case !known:
			comparison.Unknown++
			comparison.example("id %s was never sent", row.UUID)
			return nil
		case seen[i]:
			comparison.Doubled++
			comparison.example("id %s came twice", row.UUID)
			return nil
		}
		seen[i] = true
		comparison.IDs++
		switch {
		case row != sent[i]:
			comparison.Changed++
			comparison.example("sent  %s\n  came  %s", describe(sent[i]), describe(row))
		case row.Event != flightEvent:
			comparison.Strange++
		}
		return nil
	})
	if err != nil {
		return comparison, fmt.Errorf("read back with %s: %w", reader.Name(), err)
	}
	for i, was := range seen {
		if !was {
			comparison.Missing++
			comparison.example("id %s did not come back", sent[i].UUID)
		}
	}
	comparison.Took = time.Since(began)
	return comparison, nil
}

func (c *Comparison) example(format string, args ...any) {
	const keep = 5
	if len(c.Examples) < keep {
		c.Examples = append(c.Examples, fmt.Sprintf(format, args...))
	}
}

// describe quotes a row, cut to what a person can compare.
func describe(row Row) string {
	const keep = 300
	properties := row.Properties
	if len(properties) > keep {
		properties = properties[:keep] + "…"
	}
	return fmt.Sprintf("%s %q %q %d %q", row.UUID, row.Event, row.DistinctID, row.Micros, properties)
}

// decodeRows reads rows as JSON arrays, one a line: id, name, distinct id, microseconds, properties, all as text.
func decodeRows(from io.Reader, each func(Row) error) error {
	return eachLine(from, func(line []byte) error { return decodeRow(line, each) })
}

func decodeRow(line []byte, each func(Row) error) error {
	var fields []string
	if err := json.Unmarshal(line, &fields); err != nil {
		return fmt.Errorf("decode a row: %w", err)
	}
	if len(fields) != 5 {
		return fmt.Errorf("decode a row: it has %d fields instead of 5", len(fields))
	}
	micros, err := strconv.ParseInt(fields[3], 10, 64)
	if err != nil {
		return fmt.Errorf("decode a row: its time is %q", fields[3])
	}
	return each(Row{UUID: fields[0], Event: fields[1], DistinctID: fields[2], Micros: micros, Properties: fields[4]})
}

// eachLine reads lines of any length that are not empty.
func eachLine(from io.Reader, do func([]byte) error) error {
	reader := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := reader.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if err := do(line); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
	}
}
