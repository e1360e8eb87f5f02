package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// errTaken says that the run's row is there already, in this revision or a newer one.
var errTaken = errors.New("the run is published")

// Builds that are broken on purpose: the run's row is committed before its rows are moved; and a publisher is fenced by his
// revision alone, so that one whose run is published in the same revision is let in.
const (
	switchOutside    = "postgres.outside.transaction"
	switchByRevision = "postgres.fence.by.revision"
)

// Publish moves the rows of a run into the target in one transaction; see destinations.Destination and the package's
// description. After a lost answer to COMMIT the run's row decides: who finds it, adopts it; who does not, may try again,
// for a transaction that is still open holds the row's key, and the next one waits for its end.
func (d *Destination) Publish(ctx context.Context, manifest export.Manifest) (export.Manifest, error) {
	act := "publish " + manifest.Run.String()
	text, err := json.Marshal(manifest)
	if err != nil {
		return export.Manifest{}, export.Errorf(export.KindInternal, "encode manifest: %w", err)
	}
	err = d.within(ctx, anybody, func(tx pgx.Tx) error { return d.move(ctx, tx, manifest, string(text)) })
	if err == nil {
		err = failpoint.Hit(ctx, "postgres.publish.committed")
	}
	switch {
	case err == nil:
		d.sweepRun(ctx, manifest.Run)
		manifest.Location = d.location()
		return manifest, nil
	case !errors.Is(err, errTaken) && !errors.Is(err, errUnknownCommit):
		return export.Manifest{}, d.explain(ctx, act, err)
	}
	holds, lookErr := d.published(ctx, manifest.Run)
	switch {
	case lookErr != nil:
		return export.Manifest{}, d.explain(ctx, act, lookErr)
	case holds == nil || holds.Run.Revision < manifest.Run.Revision && errors.Is(err, errUnknownCommit):
		return export.Manifest{}, d.explain(ctx, act, err) // the COMMIT did not come to be, or is still on its way
	case holds.Run.Revision < manifest.Run.Revision:
		return export.Manifest{}, export.Errorf(export.KindConfig, "%s: revision %d is published: %w", manifest.Run, holds.Run.Revision, d.settings.replaceable())
	}
	d.sweepRun(ctx, holds.Run)
	return *holds, nil
}

// sweepRun drops what is left of attempts at a published run. An execution that is still proving its own finds them gone,
// closes the revision for that reason, and is told that it is published.
func (d *Destination) sweepRun(ctx context.Context, run export.Run) {
	d.sweep(ctx, run.Export, func(one staged) bool { return one.Run == runName(run) })
}

// move is the transaction.
func (d *Destination) move(ctx context.Context, tx pgx.Tx, manifest export.Manifest, text string) error {
	if err := failpoint.Hit(ctx, "postgres.publish.begun"); err != nil {
		return err
	}
	if err := d.holdPlan(ctx, tx, manifest); err != nil {
		return err
	}
	former, err := d.takeRun(ctx, tx, manifest, text)
	if err != nil {
		return err
	}
	if failpoint.On(switchOutside) {
		if _, err := tx.Conn().PgConn().Exec(ctx, "COMMIT; BEGIN").ReadAll(); err != nil {
			return err
		}
	}
	if err := failpoint.Hit(ctx, "postgres.run.taken"); err != nil {
		return err
	}
	columns, err := d.lockTarget(ctx, tx)
	if err != nil {
		return err
	}
	for _, receipt := range manifest.Receipts {
		if err := d.checkStaged(ctx, tx, manifest, receipt, columns); err != nil {
			return err
		}
	}
	if err := failpoint.Hit(ctx, "postgres.staging.proved"); err != nil {
		return err
	}
	if err := d.removeFormer(ctx, tx, former); err != nil {
		return err
	}
	for _, receipt := range manifest.Receipts {
		if err := d.moveChunk(ctx, tx, manifest.Run, receipt, columns); err != nil {
			return err
		}
	}
	if err := failpoint.Hit(ctx, "postgres.rows.moved"); err != nil {
		return err
	}
	for _, receipt := range manifest.Receipts {
		if _, err := tx.Exec(ctx, "DROP TABLE "+d.settings.in(receipt.Location)); err != nil {
			return err
		}
	}
	return failpoint.Hit(ctx, "postgres.publish.commit")
}

// holdPlan holds the row of the plan that the manifest was worked by against changes until the end.
func (d *Destination) holdPlan(ctx context.Context, tx pgx.Tx, manifest export.Manifest) error {
	var hash string
	var closed *string
	err := tx.QueryRow(ctx, "SELECT plan_hash, closed::text FROM "+d.settings.plans()+" WHERE "+ofRun+" AND revision = $4 FOR SHARE",
		append(keyOf(manifest.Run), manifest.Run.Revision)...).Scan(&hash, &closed)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return d.notOurs(d.settings.plans(), manifest.Run, "has no plan any more")
	case err != nil:
		return err
	case closed != nil:
		mark, err := d.readClosed(manifest.Run, *closed)
		if err != nil {
			return err
		}
		return &export.ClosedError{Closed: *mark}
	case hash != manifest.PlanHash:
		return d.notOurs(d.settings.plans(), manifest.Run, "has another plan than the one that was worked")
	}
	return nil
}

// takeRun writes the run's row, or says errTaken. A newer revision takes the place of an older one only where its rows do; the
// answer is the manifest of that one, nil when there is none.
func (d *Destination) takeRun(ctx context.Context, tx pgx.Tx, manifest export.Manifest, text string) (*export.Manifest, error) {
	values := append(keyOf(manifest.Run), manifest.Run.Revision, manifest.PlanHash, int64(manifest.Rows), text)
	for {
		former, err := d.lockRun(ctx, tx, manifest.Run)
		if err != nil {
			return nil, err
		}
		if former != nil {
			newer, replaces := former.Run.Revision < manifest.Run.Revision, d.settings.replaceable() == nil
			if failpoint.On(switchByRevision) {
				newer, replaces = former.Run.Revision <= manifest.Run.Revision, true
			}
			if !newer || !replaces {
				return nil, errTaken
			}
			_, err := tx.Exec(ctx, "UPDATE "+d.settings.runs()+" SET revision = $4, plan_hash = $5, rows = $6, manifest = $7::text::json, published_at = now() WHERE "+ofRun, values...)
			return former, err
		}
		written, err := tx.Exec(ctx, "INSERT INTO "+d.settings.runs()+` (export, interval_start, interval_end, revision, plan_hash, rows, manifest)
			VALUES ($1, $2, $3, $4, $5, $6, $7::text::json) ON CONFLICT DO NOTHING`, values...)
		if err != nil || written.RowsAffected() > 0 {
			return nil, err
		}
		// Somebody has committed it since it was looked for. Nobody removes it, so it is found now.
	}
}

// lockRun reads the run's row, and holds it until the end; nil when there is none.
func (d *Destination) lockRun(ctx context.Context, tx pgx.Tx, run export.Run) (*export.Manifest, error) {
	var text string
	err := tx.QueryRow(ctx, "SELECT manifest::text FROM "+d.settings.runs()+" WHERE "+ofRun+" FOR UPDATE", keyOf(run)...).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return d.readManifest(run, text)
}

// lockTarget holds the target's columns against the model, and keeps them as they are until the end, by the lock that
// moving rows takes anyhow.
func (d *Destination) lockTarget(ctx context.Context, tx pgx.Tx) ([]column, error) {
	if _, err := d.target(ctx, tx); err != nil { // says what is the matter with a table that cannot be locked
		return nil, err
	}
	if _, err := tx.Exec(ctx, "LOCK TABLE "+d.settings.target()+" IN ROW EXCLUSIVE MODE"); err != nil {
		return nil, err
	}
	return d.target(ctx, tx)
}

// checkStaged holds a staging table against its receipt: nobody else can reach it any more, it is labelled as this run's
// chunk, its columns are those of the target, and its rows are those that the copy has written, all of them and no other.
// What the values of these amount to was compared with the source when they were read back.
func (d *Destination) checkStaged(ctx context.Context, tx pgx.Tx, manifest export.Manifest, receipt export.Receipt, columns []column) error {
	if err := d.hold(ctx, tx, "ACCESS EXCLUSIVE", manifest.Run, manifest.PlanHash, receipt); err != nil {
		return err
	}
	staged, err := d.stagedColumns(ctx, tx, manifest.Run, receipt)
	if err != nil {
		return err
	}
	if !slices.Equal(staged, columns) {
		return export.Unworkable(export.Errorf(export.KindSchema, "%s: the columns of %s have other types than when chunk %d was copied", manifest.Run, d.settings.target(), receipt.Chunk))
	}
	return d.countStaged(ctx, tx, manifest.Run, receipt)
}

// moveChunk moves the rows of one staging table.
func (d *Destination) moveChunk(ctx context.Context, tx pgx.Tx, run export.Run, receipt export.Receipt, columns []column) error {
	if d.settings.Mode == modeMerge {
		_, err := tx.Exec(ctx, d.mergeChunk(receipt.Location, columns))
		return err
	}
	names := namesOfColumns(columns)
	into, from := names, names
	if d.settings.RunColumn != "" {
		into, from = names+", "+quoted([]string{d.settings.RunColumn}), names+","+literal(chunkName(run, receipt.Chunk))
	}
	tag, err := tx.Exec(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s", d.settings.target(), into, from, d.settings.in(receipt.Location)))
	if err != nil {
		return err
	}
	if moved := uint64(tag.RowsAffected()); moved != receipt.Rows { // a trigger or a rule
		return export.Errorf(export.KindSchema, "%s took %d of the %d rows of chunk %d: a trigger or rule on it keeps rows out; take that off, or export into another table", d.settings.target(), moved, receipt.Rows, receipt.Chunk)
	}
	return nil
}

// mergeChunk inserts the rows of a staging table, or puts them into the place of those of the same key that are not newer.
// Of several rows of one key within the chunk the one that arrived last counts: the rows lie in the order in which they
// were copied, and that is the order of arrival. Rows are taken in the order of the key, so that two publishers who meet
// at the same rows wait for one another and do not deadlock.
func (d *Destination) mergeChunk(staging string, columns []column) string {
	key, version := quoted(d.key), quoted([]string{d.version})
	var updates []string
	for _, c := range columns {
		name := quoted([]string{c.Name})
		updates = append(updates, name+" = EXCLUDED."+name)
	}
	names := namesOfColumns(columns)
	return fmt.Sprintf(`INSERT INTO %[1]s AS target (%[2]s) SELECT DISTINCT ON (%[3]s) %[2]s FROM %[4]s ORDER BY %[3]s, %[5]s DESC, ctid DESC
		ON CONFLICT (%[3]s) DO UPDATE SET %[6]s WHERE target.%[5]s <= EXCLUDED.%[5]s`,
		d.settings.target(), names, key, d.settings.in(staging), version, strings.Join(updates, ", "))
}
