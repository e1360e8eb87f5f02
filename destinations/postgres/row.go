package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// copyContext is where COPY says which line, and mostly which column, it refused: "COPY t, line 3, column c: …", sometimes
// below what the type has to say. Servers that speak another language put another word for line.
var copyContext = regexp.MustCompile(`(?m)^COPY [^,]+, \S+ (\d+)(?:, \S+ ([^:,]+))?`)

// refusedRow adds to an error of COPY about a row's data which row that is: it reads the chunk once more up to the line
// that the server names, and takes the key of it. The values of the row stay out of the error.
func (d *Destination) refusedRow(ctx context.Context, task destinations.ChunkTask, err error) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || judgeCode(refused.Code).Kind != export.KindData {
		return err
	}
	place := copyContext.FindStringSubmatch(refused.Where)
	if place == nil {
		return err
	}
	line, failed := strconv.Atoi(place[1])
	if failed != nil {
		return err
	}
	where := fmt.Sprintf("row %d", line)
	if fields, readErr := lineOf(ctx, task, line); readErr == nil && len(fields) == len(d.columns) {
		var key []string
		for i, c := range d.columns {
			if slices.Contains(d.key, c.Name) {
				key = append(key, c.Name+" "+fields[i])
			}
		}
		where += " (" + strings.Join(key, ", ") + ")"
	}
	if place[2] != "" {
		where += ", column " + strings.TrimSpace(place[2])
	}
	return &rowError{error: err, where: where}
}

// rowError says which row an error of the server is about.
type rowError struct {
	error
	where string
}

// Unwrap gives the server's error.
func (e *rowError) Unwrap() error { return e.error }

// lineOf reads the fields of one line of a chunk, from 1.
func lineOf(ctx context.Context, task destinations.ChunkTask, number int) ([]string, error) {
	source, err := task.Source.Open(ctx, encoding)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	lines := bufio.NewReaderSize(source, 64<<10)
	for at := 1; ; at++ {
		if at < number {
			if err := skipLine(lines); err != nil {
				return nil, err
			}
			continue
		}
		line, err := lines.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return strings.Split(strings.TrimSuffix(line, "\n"), "\t"), nil
	}
}

func skipLine(lines *bufio.Reader) error {
	for {
		_, err := lines.ReadSlice('\n')
		if err == nil || !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}
