package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace/millrace/export"
)

// Limits of a transaction. The lock timeout is how long a publisher waits for another who is at the same interval, or for
// a user's ALTER of the target; the idle timeout frees the locks of a worker that stands still between two statements.
const (
	lockTimeout = "60s"
	idleTimeout = "60s"
	// lookInterval is how often the server looks, within a statement, whether the client is still there: that of a killed
	// worker would run on to its end otherwise, with its locks.
	lookInterval = "5s"
	// goodbye is how long closing a connection may take; the server notices anyhow.
	goodbye = 5 * time.Second
)

// errUnknownCommit says that nobody knows whether a COMMIT had its effect.
var errUnknownCommit = errors.New("the answer to COMMIT was lost")

// connect opens a connection. Its end is the caller's.
func (d *Destination) connect(ctx context.Context) (*pgx.Conn, error) {
	return pgx.ConnectConfig(ctx, d.config.Copy())
}

// hangUp closes a connection, also when everything was cancelled, and waits until the client has let go of it.
func hangUp(ctx context.Context, connection *pgx.Conn) {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	_ = connection.Close(ending) // the server notices the end of a connection that was not said goodbye to
	select {
	case <-connection.PgConn().CleanupDone():
	case <-ending.Done():
	}
}

// within runs do in a transaction of a connection of its own, and commits when it returns nil. application names the
// session in pg_stat_activity. A lost answer to COMMIT is told by errUnknownCommit. Errors are not explained yet.
func (d *Destination) within(ctx context.Context, application string, do func(pgx.Tx) error) error {
	connection, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp(ctx, connection)
	tx, err := connection.Begin(ctx)
	if err != nil {
		return err
	}
	// Local ones, for a pooler may give the session to somebody else afterwards. A timeout of the role's for statements
	// would end every big chunk. transaction_timeout came with Postgres 17, and a server on Windows cannot look for its client.
	_, err = tx.Exec(ctx, `SELECT set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true),
		set_config('statement_timeout', '0', true), set_config('application_name', $3, true),
		(SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'),
		(SELECT set_config(name, $4, true) FROM pg_catalog.pg_settings WHERE name = 'client_connection_check_interval' AND version() !~* 'windows|mingw|visual c')`,
		lockTimeout, idleTimeout, application, lookInterval)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return err // closing the connection rolls back
	}
	if err := tx.Commit(ctx); err != nil {
		if errors.Is(err, pgx.ErrTxCommitRollback) || isRollback(err) {
			return err
		}
		return fmt.Errorf("%w: %w", errUnknownCommit, err)
	}
	return nil
}

// isRollback tells errors at COMMIT after which the server has surely rolled back: of deferred constraints and of
// concurrency. All others leave it open.
func isRollback(err error) bool {
	class := sqlState(err)
	return len(class) == 5 && (class[:2] == "23" || class[:2] == "40")
}

// sqlState is the server's code for an error, or "" when the error is not the server's.
func sqlState(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// applicationOf names the sessions of one execution's work on a run in this schema, so that Abort finds them.
func (d *Destination) applicationOf(run export.Run, execution string) string {
	return "millrace " + fingerprint(d.settings.Schema, runName(run), execution)
}

// anybody is the name of sessions that no Abort looks for.
const anybody = "millrace"
