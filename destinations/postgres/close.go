package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// Close writes the mark of a closed revision into the row of its plan; see destinations.Destination. Who publishes holds
// that row until the end of its transaction, so of the two one waits for the other, and then sees what it did.
func (d *Destination) Close(ctx context.Context, mark export.Closed) (destinations.Ending, error) {
	act := "close " + mark.Run.String()
	text, err := json.Marshal(mark)
	if err != nil {
		return destinations.Ending{}, export.Errorf(export.KindInternal, "encode the mark of a closed revision: %w", err)
	}
	var ending destinations.Ending
	err = d.within(ctx, anybody, func(tx pgx.Tx) error {
		if err := d.makeTables(ctx, tx); err != nil {
			return err
		}
		if ending, err = d.end(ctx, tx, mark, string(text)); err != nil {
			return err
		}
		return failpoint.Hit(ctx, "postgres.close.commit")
	})
	if err == nil {
		err = failpoint.Hit(ctx, "postgres.close.committed")
	}
	if err != nil {
		return destinations.Ending{}, d.explain(ctx, act, err)
	}
	return ending, nil
}

// end closes a revision unless it is ended. Each statement sees what was committed before it, so the run's row is looked
// for only after the lock is held.
func (d *Destination) end(ctx context.Context, tx pgx.Tx, mark export.Closed, text string) (destinations.Ending, error) {
	key := append(keyOf(mark.Run), mark.Run.Revision)
	// A revision that nobody has planned yet can be closed, too.
	_, err := tx.Exec(ctx, "INSERT INTO "+d.settings.plans()+" (export, interval_start, interval_end, revision, plan_hash) VALUES ($1, $2, $3, $4, '') ON CONFLICT DO NOTHING", key...)
	if err != nil {
		return destinations.Ending{}, err
	}
	var closed *string
	if err := tx.QueryRow(ctx, "SELECT closed::text FROM "+d.settings.plans()+" WHERE "+ofRun+" AND revision = $4 FOR UPDATE", key...).Scan(&closed); err != nil {
		return destinations.Ending{}, err
	}
	if closed != nil {
		found, err := d.readClosed(mark.Run, *closed)
		return destinations.Ending{Closed: found}, err
	}
	var manifest string
	// It may have been published, and a later one since.
	err = tx.QueryRow(ctx, "SELECT manifest::text FROM "+d.settings.runs()+" WHERE "+ofRun+" AND revision >= $4", key...).Scan(&manifest)
	switch {
	case err == nil:
		published, err := d.readManifest(mark.Run, manifest)
		return destinations.Ending{Published: published}, err
	case !errors.Is(err, pgx.ErrNoRows):
		return destinations.Ending{}, err
	}
	_, err = tx.Exec(ctx, "UPDATE "+d.settings.plans()+" SET closed = $5::text::json WHERE "+ofRun+" AND revision = $4", append(key, text)...)
	return destinations.Ending{Closed: &mark}, err
}

// closedFrom is the mark of the highest closed revision of a run, when its own is closed, or one after it.
func (d *Destination) closedFrom(ctx context.Context, run export.Run) (*export.Closed, error) {
	connection, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer hangUp(ctx, connection)
	var text string
	err = connection.QueryRow(ctx, "SELECT closed::text FROM "+d.settings.plans()+" WHERE "+ofRun+" AND revision >= $4 AND closed IS NOT NULL ORDER BY revision DESC LIMIT 1",
		append(keyOf(run), run.Revision)...).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return d.readClosed(run, text)
}

func (d *Destination) readClosed(run export.Run, text string) (*export.Closed, error) {
	var closed export.Closed
	if err := json.Unmarshal([]byte(text), &closed); err != nil {
		return nil, d.notOurs(d.settings.plans(), run, "has a mark that this program cannot read")
	}
	if closed.Version != export.ClosedVersion {
		return nil, export.Errorf(export.KindInternal, "the mark that closes %s has version %d, this program knows %d: run the version that wrote it", run, closed.Version, export.ClosedVersion)
	}
	return &closed, nil
}
