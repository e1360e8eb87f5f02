package eventstore

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/export"
)

// schemaFiles are the steps of the schema, schema/<number>_<name>.sql. A step that was released is never changed. Each of
// its statements must do no harm when it is run twice, also by two processes at once and after later steps were applied
// (IF NOT EXISTS everywhere), for there is no lock to hold; and it must leave the tables fit for the program before it,
// so that workers are replaced one by one.
//
//go:embed schema/*.sql
var schemaFiles embed.FS

// step is one numbered file.
type step struct {
	version    int
	name       string
	statements []string
}

var stepFile = regexp.MustCompile(`^([0-9]{4})_([a-z0-9_]+)\.sql$`)

// readSteps reads the steps in order and refuses a gap in their numbers.
func readSteps(files fs.FS) ([]step, error) {
	entries, err := fs.ReadDir(files, "schema")
	if err != nil {
		return nil, fmt.Errorf("list schema: %w", err)
	}
	var steps []step
	for i, entry := range entries {
		parts := stepFile.FindStringSubmatch(entry.Name())
		if parts == nil {
			return nil, fmt.Errorf("schema/%s is not named <4 digits>_<name>.sql", entry.Name())
		}
		version, err := strconv.Atoi(parts[1])
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("schema/%s: the number must be %04d", entry.Name(), i+1)
		}
		text, err := fs.ReadFile(files, "schema/"+entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read schema/%s: %w", entry.Name(), err)
		}
		steps = append(steps, step{version: version, name: parts[2], statements: splitStatements(string(text))})
	}
	return steps, nil
}

// splitStatements cuts a file at the semicolons that end a line.
func splitStatements(text string) []string {
	var statements []string
	for _, statement := range strings.Split(text, ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, statement)
		}
	}
	return statements
}

// Applied is a step of the schema that is in the database.
type Applied struct {
	// Version counts from 1; Name is the step's file without number and ending.
	Version int
	Name    string
	// At is when it was applied, by ClickHouse's clock; New tells that this call did it.
	At  time.Time
	New bool
}

// Setup creates the database and brings its tables to the schema of this program. It may be started twice, by two
// processes at once, and again after a kill: steps that are applied are left alone. It returns all steps in order.
func (s *Store) Setup(ctx context.Context) ([]Applied, error) {
	steps, err := readSteps(schemaFiles)
	if err != nil {
		return nil, err
	}
	if err := s.createDatabase(ctx); err != nil {
		return nil, err
	}
	before, err := s.applied(ctx)
	if err != nil && exceptionCode(err) != codeUnknownTable {
		return nil, err
	}
	for _, step := range steps {
		if _, done := before[step.version]; done {
			continue
		}
		if err := s.apply(ctx, step); err != nil {
			return nil, err
		}
	}
	after, err := s.applied(ctx)
	if err != nil {
		return nil, err
	}
	var all []Applied
	for _, step := range steps {
		applied := after[step.version]
		_, old := before[step.version]
		applied.New = !old
		all = append(all, applied)
	}
	return all, nil
}

// createDatabase goes by way of another database, since a query in one that is not there is refused.
func (s *Store) createDatabase(ctx context.Context) error {
	err := s.command(ctx, s.Database(), "SELECT 1 FORMAT Null")
	if exceptionCode(err) != codeUnknownDatabase {
		// A user who may not create databases can still set one up that was made for him.
		return wrap("look for database "+s.Database(), err)
	}
	return wrap("create database "+s.Database(), s.command(ctx, systemDatabase, "CREATE DATABASE IF NOT EXISTS "+quoteName(s.Database())))
}

// apply runs a step's statements and then notes it down. A kill in between runs them again next time.
func (s *Store) apply(ctx context.Context, step step) error {
	what := fmt.Sprintf("apply schema step %d (%s)", step.version, step.name)
	conn, err := s.native(ctx)
	if err != nil {
		return err
	}
	for _, statement := range step.statements {
		if err := conn.Exec(ctx, statement); err != nil {
			return wrap(what, err)
		}
	}
	err = conn.Exec(withPlainInsert(ctx), "INSERT INTO schema_versions (version, name) VALUES (?, ?)", step.version, step.name)
	return wrap("note down schema step "+strconv.Itoa(step.version), err)
}

// applied are the steps that are in the database, by version.
func (s *Store) applied(ctx context.Context) (map[int]Applied, error) {
	rows, err := s.query(ctx, "SELECT version, any(name), min(applied_at) FROM schema_versions GROUP BY version")
	if err != nil {
		return nil, wrap("read the schema's version", err)
	}
	all := map[int]Applied{}
	err = eachRow(rows, func() error {
		var version uint32
		var step Applied
		if err := rows.Scan(&version, &step.Name, &step.At); err != nil {
			return err
		}
		step.Version = int(version)
		all[step.Version] = step
		return nil
	})
	return all, wrap("read the schema's version", err)
}

// CheckSchema tells whether the tables are those this program needs; its error says which version is there, which
// is needed, and what to do. A later version is accepted: each step leaves the tables fit for the program before it.
func (s *Store) CheckSchema(ctx context.Context) error {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	steps, err := readSteps(schemaFiles)
	if err != nil {
		return err
	}
	there, err := s.applied(ctx)
	switch exceptionCode(err) {
	case codeUnknownDatabase, codeUnknownTable:
		return export.Errorf(export.KindSourceUnavailable, "ClickHouse database %q has no tables of Millrace, version %d is needed: run `millrace setup`",
			s.Database(), len(steps))
	}
	if err != nil {
		return err
	}
	for _, step := range steps {
		if _, done := there[step.version]; !done {
			return export.Errorf(export.KindSourceUnavailable, "ClickHouse database %q has schema version %d, version %d is needed: run `millrace setup`",
				s.Database(), step.version-1, len(steps))
		}
	}
	return nil
}

// eachRow scans an answer to its end and closes it.
func eachRow(rows driver.Rows, scan func() error) error {
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(); err != nil {
			return err
		}
	}
	return rows.Err()
}
