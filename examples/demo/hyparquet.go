package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// hyparquetReader reads files with hyparquet, in Node.js, straight from the bucket by signed addresses.
type hyparquetReader struct {
	lake   *Lake
	files  []File
	script string
}

func (hyparquetReader) Name() string { return "hyparquet" }

// Read implements Reader.
func (r hyparquetReader) Read(ctx context.Context, each func(Row) error) (Totals, error) {
	type signedFile struct {
		URL   string `json:"url"`
		Bytes int64  `json:"bytes"`
	}
	var input struct {
		Files  []signedFile `json:"files"`
		Flight string       `json:"flight"`
	}
	input.Flight = flightEvent
	for _, file := range r.files {
		address, err := r.lake.URL(ctx, file.Key)
		if err != nil {
			return Totals{}, err
		}
		input.Files = append(input.Files, signedFile{address, file.Bytes})
	}
	encoded, err := json.Marshal(input)
	if err != nil {
		return Totals{}, fmt.Errorf("say which files to read: %w", err)
	}
	command := exec.CommandContext(ctx, "node", r.script)
	var said bytes.Buffer
	command.Stdin, command.Stderr = bytes.NewReader(encoded), &said
	output, err := command.StdoutPipe()
	if err != nil {
		return Totals{}, fmt.Errorf("run node: %w", err)
	}
	if err := command.Start(); err != nil {
		return Totals{}, fmt.Errorf("run node: %w", err)
	}
	// The last line is the totals; it comes only when every file was read.
	var totals *Totals
	err = eachLine(output, func(line []byte) error {
		if line[0] == '[' {
			return decodeRow(line, each)
		}
		totals = &Totals{}
		return json.Unmarshal(line, totals)
	})
	if err != nil {
		_ = command.Process.Kill() // it may have ended by itself
	}
	if waitErr := command.Wait(); waitErr != nil && err == nil {
		err = fmt.Errorf("run node %s: %w: %s", r.script, waitErr, strings.TrimSpace(said.String()))
	}
	if err == nil && totals == nil {
		err = errors.New("node ended without the totals")
	}
	if err != nil {
		return Totals{}, err
	}
	return *totals, nil
}
