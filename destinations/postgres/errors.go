package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/millrace/millrace/export"
)

const tryAgain = export.TryAgain

// Verdicts that several codes share.
var (
	badLogin    = export.KindAuth.Means("the server does not accept this user and password: correct them in the connection")
	noDatabase  = export.KindNotFound.Means("the database does not exist: create it, or correct database in the connection")
	noSchema    = export.KindNotFound.Means("the schema does not exist: create it, or correct schema in the export's block")
	noRight     = export.KindPermission.Means("the role lacks a right: grant it CREATE and USAGE on the schema, and SELECT, INSERT (and for mode merge UPDATE) on the target")
	noFit       = export.KindSchema.Means("the table does not take these rows: its columns or types have changed")
	notText     = export.KindData.Means("a value holds a NUL byte or bytes that are no UTF-8, which Postgres does not store: mend it at its sender, and leave the row out")
	notJSONB    = export.KindData.Means("a JSON document holds \\u0000 or a lone surrogate, which jsonb does not store: make the column json or text, which keep it as it is")
	notOfType   = export.KindData.Means("a value cannot be read as its column's type: compare the column with the model's")
	tooLarge    = export.KindData.Means("a value is too large or out of the range of its column")
	constrained = export.KindData.Means("the table's own constraint refuses a row: mend the row, or the constraint")
	full        = export.KindQuota.Means("the server's disk or another limit of its is full: make room")
	busy        = export.KindQuota.Means("the server takes no more connections: " + tryAgain)
	readOnly    = export.KindDestinationUnavailable.Means("the server is read-only, as a standby or one in maintenance is: connect to the primary; " + tryAgain)
	restarting  = export.KindDestinationUnavailable.Means("the server is starting or stopping, or ended the session: " + tryAgain)
	conflict    = export.KindDestinationUnavailable.Means("another transaction was in the way: " + tryAgain)
	broken      = export.KindDestinationUnavailable.Means("the connection broke off: check that the server runs, and host and port in the connection; " + tryAgain)
	trouble     = export.KindDestinationUnavailable.Means("the server has trouble of its own: " + tryAgain)
	tooOld      = export.KindConfig.Means("the server cannot do what Millrace needs: it must be PostgreSQL 14 or newer")
	unexpected  = export.KindInternal.Means("the server answered what Millrace does not expect: please report it")
)

// codes is the table of codes; where a code is not in it, its class (the first two characters) is looked up. Source:
// https://www.postgresql.org/docs/current/errcodes-appendix.html
var codes = export.Codes{
	"08": broken,

	"28":    badLogin,
	"3D000": noDatabase,
	"3F000": noSchema,
	"42501": noRight,

	"42P01": export.KindNotFound.Means("a table is not there, or was removed: create it, or correct table in the export's block"),
	"42P07": conflict, // two who make the same table
	"42703": noFit,
	"42804": noFit,
	"428C9": noFit, // a generated column
	"42846": noFit,
	"42P10": noFit, // no unique index for ON CONFLICT
	"42809": noFit, // not a table
	"0A000": noFit, // a view, a foreign table that takes no COPY
	"55000": noFit, // a view without rules for INSERT
	"42883": tooOld,

	"22":    notOfType,
	"22021": notText,
	"22P05": notJSONB,
	"22P02": export.KindData.Means("a value cannot be read as its column's type; in a column of jsonb that is a lone surrogate, too, which json and text keep as it is"),
	"22001": tooLarge,
	"22003": tooLarge,
	"22008": tooLarge,
	"54000": tooLarge, // a document or row beyond the server's limits
	"23":    constrained,
	"44000": constrained, // WITH CHECK OPTION
	"P0":    export.KindData.Means("a trigger on the table refuses a row"),

	"53":    full,
	"53300": busy,
	"53400": full,

	"25006": readOnly,
	"25P03": export.KindDestinationUnavailable.Means("the worker stood still for too long within a transaction, and the server ended it: " + tryAgain),
	"25P04": export.KindDestinationUnavailable.Means("the server ended a transaction that took too long: raise transaction_timeout for the role; " + tryAgain),
	"40":    conflict,
	"55P03": export.KindDestinationUnavailable.Means("somebody holds a lock on the table for longer than Millrace waits: " + tryAgain),
	"55006": conflict,

	"57":    restarting,
	"57014": export.KindDestinationUnavailable.Means("somebody cancelled the statement at the server: " + tryAgain),
	"58":    trouble,
	"XX":    trouble,
	"F0":    trouble,
}

// judgeCode looks a code up.
func judgeCode(code string) export.Verdict {
	const classLength = 2
	if found, known := codes.Judge(code, classLength); known {
		return found
	}
	return unexpected
}

// explain classifies an error and words it for people: what was tried, where, what it means, and the server's code. The
// server's own words stay out of it, for they show values of rows, and so does the client's error: workflow history prints
// causes. ctx is the caller's.
func (d *Destination) explain(ctx context.Context, act string, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil { // whatever else went wrong came of it
		return export.Errorf(export.KindCancelled, "%s: %s: %w", act, d.place(), cause)
	}
	var closed *export.ClosedError
	var classified *export.Error
	if errors.As(err, &classified) || errors.As(err, &closed) {
		return fmt.Errorf("%s: %w", act, err)
	}
	var row *rowError
	where := ""
	if errors.As(err, &row) {
		where = row.where + ": "
	}
	found := judge(err)
	return export.Errorf(found.Kind, "%s: %s: %s%s", act, d.place(), where, found.Text)
}

// judge is explain without words around.
func judge(err error) export.Verdict {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		found := judgeCode(refused.Code)
		text := found.Text + " (" + refused.Code
		for what, name := range map[string]string{"constraint": refused.ConstraintName} {
			if name != "" {
				text += ", " + what + " " + name
			}
		}
		if refused.ColumnName != "" {
			text += ", column " + refused.ColumnName
		}
		return found.Kind.Means(text + ")")
	}
	if errors.Is(err, errUnknownCommit) {
		return export.KindDestinationUnavailable.Means("the answer to a commit was lost: " + tryAgain)
	}
	return judgeNetwork(err)
}

func judgeNetwork(err error) export.Verdict {
	unavailable := func(text string) export.Verdict { return export.KindDestinationUnavailable.Means(text) }
	const start = "check that the server runs, and host and port in the connection; " + tryAgain
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var network net.Error
	switch {
	case errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &hostname):
		return export.KindConfig.Means("the server's TLS certificate is not trusted: give its authority in ca_certificate, correct host, or set tls: require")
	case errors.As(err, &dns) && dns.IsNotFound:
		return unavailable(fmt.Sprintf("the host %q is not known: %s", dns.Name, start))
	case errors.Is(err, syscall.ECONNREFUSED):
		return unavailable("the connection was refused: " + start)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return unavailable("the host cannot be reached: " + start)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return unavailable("there was no answer in time: " + start)
	}
	return broken
}
