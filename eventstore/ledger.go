package eventstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// Status is how a run ended.
type Status string

// The statuses. A row that says published is never replaced by one that does not.
const (
	StatusPublished  Status = "published"
	StatusFailed     Status = "failed"
	StatusCancelled  Status = "cancelled"
	StatusSuperseded Status = "superseded" // another execution works a later revision
	StatusClosed     Status = "closed"     // it could not be published, and never will be: the next revision stands for it
)

// LedgerRow is a run in the ledger: what there is to know of it when Temporal has long forgotten it.
type LedgerRow struct {
	Run    export.Run
	Status Status

	Team        export.Team
	Model       string
	Connection  string
	Destination string

	DefinitionHash string
	PlanHash       string
	Closing        export.Closing

	Rows  uint64
	Bytes uint64
	// Files is how many objects, tables or batches of messages hold the rows: one for each chunk.
	Files uint64
	// Proof is the level of proof: export.ProofStream or export.ProofReadback. Empty when the run was not proved.
	Proof string
	// Source is the content of the rows in the source, and Stored what was read back. Nil when that was not computed.
	Source *export.Content
	Stored *export.Content
	// Manifest is where the manifest lies, in the destination's words. Empty when the run was not published.
	Manifest string

	// WorkflowID and RunID name the execution that published the run, or that failed.
	WorkflowID string
	RunID      string
	// StartedAt is when that execution began, PublishedAt when the run was published; zero when it was not.
	StartedAt   time.Time
	PublishedAt time.Time
	// RecordedAt is set by RecordRun, by ClickHouse's clock.
	RecordedAt time.Time
	// Attempts is the sum of the attempts of all chunks.
	Attempts uint32
	// Durations is how long each step took, in milliseconds, by the names of export.Progress.
	Durations map[string]int64

	// Reason says why a published run takes the place of the revision before it, as the redo that asked for it did; empty for others.
	Reason string
	// ErrorKind and Error say why a run that is not published ended. Error is a sentence for people, without secrets.
	ErrorKind export.Kind
	Error     string
}

// ledgerColumns are written by RecordRun and, with recorded_at behind them, read by Runs.
const ledgerColumns = "export, interval_start, interval_end, revision, status, team, model, connection, destination, " +
	"definition_hash, plan_hash, closing_rule, watermark, rows, bytes, files, proof, manifest, workflow_id, run_id, " +
	"started_at, published_at, attempts, error_kind, error, source_rows, source_hash, stored_rows, stored_hash, durations, reason"

// RecordRun writes a run into the ledger. Written twice it is there once: the later row of a run replaces the earlier,
// except that published is never replaced by another status.
func (s *Store) RecordRun(ctx context.Context, row LedgerRow) error {
	return wrap("record "+row.Run.String()+" in the ledger", s.insertRun(withPlainInsert(ctx), row))
}

func (s *Store) insertRun(ctx context.Context, row LedgerRow) error {
	batch, err := s.prepare(ctx, "INSERT INTO ledger ("+ledgerColumns+")")
	if err != nil {
		return err
	}
	sourceRows, sourceHash := contentColumns(row.Source)
	storedRows, storedHash := contentColumns(row.Stored)
	durations := row.Durations
	if durations == nil {
		durations = map[string]int64{}
	}
	err = batch.Append(row.Run.Export, row.Run.Start, row.Run.End, uint32(row.Run.Revision), string(row.Status), row.Team.String(),
		row.Model, row.Connection, row.Destination, row.DefinitionHash, row.PlanHash, row.Closing.Rule, row.Closing.Watermark,
		row.Rows, row.Bytes, row.Files, row.Proof, row.Manifest, row.WorkflowID, row.RunID,
		orEpoch(row.StartedAt), orEpoch(row.PublishedAt), row.Attempts, string(row.ErrorKind), row.Error,
		sourceRows, sourceHash, storedRows, storedHash, durations, row.Reason)
	if err != nil {
		_ = batch.Abort()
		return fmt.Errorf("encode ledger row: %w", err)
	}
	if err := failpoint.Hit(ctx, "ledger.insert"); err != nil {
		_ = batch.Abort()
		return err
	}
	if err := batch.Send(); err != nil {
		return err
	}
	return failpoint.Hit(ctx, "ledger.inserted")
}

// RunFilter narrows Runs.
type RunFilter struct {
	// Export is the export's name; all exports when empty.
	Export string
	// Interval narrows to the revisions of one interval, when it is set.
	Interval export.Interval
	// Since leaves out the runs whose interval ended before it; no bound when zero.
	Since time.Time
	// Within leaves out the runs whose interval is not wholly in it. Either end may be zero, which is no bound.
	Within export.Interval
	// Failed leaves only what is still to be repeated: of each interval whose last run failed, and that no revision has
	// published, that run's row. A run that people cancelled has not failed, and a closed revision is no run's end.
	Failed bool
	// Limit bounds the answer; 100 when 0.
	Limit int
}

const defaultRunLimit = 100

// Runs reads the ledger, the latest interval first, then by export and revision.
func (s *Store) Runs(ctx context.Context, filter RunFilter) ([]LedgerRow, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	query, args := runsQuery(filter)
	rows, err := s.query(ctx, query, args...)
	if err != nil {
		return nil, wrap("read the ledger", err)
	}
	var runs []LedgerRow
	err = eachRow(rows, func() error {
		var row LedgerRow
		var revision uint32
		var status, team, kind, sourceHash, storedHash string
		var sourceRows, storedRows uint64
		if err := rows.Scan(&row.Run.Export, &row.Run.Start, &row.Run.End, &revision, &status, &team,
			&row.Model, &row.Connection, &row.Destination, &row.DefinitionHash, &row.PlanHash, &row.Closing.Rule, &row.Closing.Watermark,
			&row.Rows, &row.Bytes, &row.Files, &row.Proof, &row.Manifest, &row.WorkflowID, &row.RunID,
			&row.StartedAt, &row.PublishedAt, &row.Attempts, &kind, &row.Error,
			&sourceRows, &sourceHash, &storedRows, &storedHash, &row.Durations, &row.Reason, &row.RecordedAt); err != nil {
			return err
		}
		row.Run.Revision, row.Status, row.ErrorKind = int(revision), Status(status), export.Kind(kind)
		row.StartedAt, row.PublishedAt = orZero(row.StartedAt), orZero(row.PublishedAt)
		var err error
		if row.Team, err = parseTeam(team); err != nil {
			return err
		}
		if row.Source, err = contentOf(sourceRows, sourceHash); err != nil {
			return err
		}
		if row.Stored, err = contentOf(storedRows, storedHash); err != nil {
			return err
		}
		runs = append(runs, row)
		return nil
	})
	return runs, wrap("read the ledger", err)
}

// RecordedExports lists the exports of which the ledger has a run, by name; none when nothing has ever run.
func (s *Store) RecordedExports(ctx context.Context) ([]string, error) {
	ctx, cancel := bounded(ctx, askTimeout)
	defer cancel()
	rows, err := s.query(ctx, "SELECT DISTINCT export FROM ledger ORDER BY export")
	if err != nil {
		return nil, wrap("list the exports in the ledger", err)
	}
	var names []string
	err = eachRow(rows, func() error {
		var name string
		err := rows.Scan(&name)
		names = append(names, name)
		return err
	})
	return names, wrap("list the exports in the ledger", err)
}

// contentColumns and contentOf stand a content that was not computed as an empty hash.
func contentColumns(content *export.Content) (uint64, string) {
	if content == nil {
		return 0, ""
	}
	return content.Rows, content.HashText()
}

func contentOf(rows uint64, hash string) (*export.Content, error) {
	if hash == "" {
		return nil, nil
	}
	content, err := export.NewContent(rows, hash)
	return &content, err
}

func runsQuery(filter RunFilter) (string, []any) {
	conditions, args := []string{"1"}, []any{}
	if filter.Export != "" {
		conditions, args = append(conditions, "export = ?"), append(args, filter.Export)
	}
	if !filter.Interval.Start.IsZero() {
		conditions = append(conditions, "interval_start = "+hour(filter.Interval.Start.Unix()), "interval_end = "+hour(filter.Interval.End.Unix()))
	}
	if !filter.Since.IsZero() {
		conditions = append(conditions, "interval_end >= "+hour(filter.Since.Unix()))
	}
	if !filter.Within.Start.IsZero() {
		conditions = append(conditions, "interval_start >= "+hour(filter.Within.Start.Unix()))
	}
	if !filter.Within.End.IsZero() {
		conditions = append(conditions, "interval_end <= "+hour(filter.Within.End.Unix()))
	}
	if filter.Failed {
		conditions = append(conditions, "(export, interval_start, interval_end, revision) IN ("+lastRunFailed+")")
	}
	limit := filter.Limit
	if limit <= 0 {
		limit = defaultRunLimit
	}
	return "SELECT " + ledgerColumns + ", recorded_at FROM ledger FINAL WHERE " + strings.Join(conditions, " AND ") +
		" ORDER BY interval_end DESC, interval_start DESC, export, revision DESC LIMIT " + strconv.Itoa(limit), args
}

// lastRunFailed names the row of the last run of each interval that failed and was not published since. Two rows of one
// microsecond are told apart by their revision.
const lastRunFailed = "SELECT export, interval_start, interval_end, argMax(revision, (recorded_at, revision)) FROM ledger FINAL " +
	"WHERE status IN ('published', 'failed', 'cancelled') GROUP BY export, interval_start, interval_end " +
	"HAVING countIf(status = 'published') = 0 AND argMax(status, (recorded_at, revision)) = 'failed'"

func parseTeam(text string) (export.Team, error) {
	if text == "all" {
		return export.Team{All: true}, nil
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return export.Team{}, fmt.Errorf("team %q is neither a number nor all: %w", text, err)
	}
	return export.Team{ID: id}, nil
}

// orEpoch and orZero stand the zero time, which ClickHouse's DateTime64 cannot hold, as the epoch.
func orEpoch(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return t
}

func orZero(t time.Time) time.Time {
	if t.Unix() == 0 {
		return time.Time{}
	}
	return t.UTC()
}
