package eventstore

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/millrace/millrace/export"
)

// passingCodes are troubles of a server that pass, or that its operator mends without touching our block: time, memory,
// disk, too many parts or queries, a server or table that is read-only for now, replicas and their keeper, a shutdown, a
// query that was killed, an earlier copy that still runs, and a refusal by the constraint.
var passingCodes = []int32{
	159, 160, // TIMEOUT_EXCEEDED, TOO_SLOW
	209, 210, // SOCKET_TIMEOUT, NETWORK_ERROR
	202,      // TOO_MANY_SIMULTANEOUS_QUERIES
	241, 243, // MEMORY_LIMIT_EXCEEDED, NOT_ENOUGH_SPACE
	252,           // TOO_MANY_PARTS
	164, 242, 774, // READONLY, TABLE_IS_READ_ONLY, TABLE_IS_PERMANENTLY_READ_ONLY: until its operator lets it be written to
	225, 999, 285, 319, // NO_ZOOKEEPER, KEEPER_EXCEPTION, TOO_FEW_LIVE_REPLICAS, UNKNOWN_STATUS_OF_INSERT
	236, 394, // ABORTED, QUERY_WAS_CANCELLED
	codeQueryIDInUse,
	codeViolatedConstraint,
}

// Exception is an exception of ClickHouse, from whichever port it came.
type Exception = clickhouse.Exception

// Classify gives an error of ClickHouse, or of the way to it, its kind, by the code of the exception and never by its
// text; see Codes. An error that has a kind keeps it; nil stays nil.
func Classify(err error) error {
	var classified *export.Error
	var exception *Exception
	switch {
	case err == nil || errors.As(err, &classified):
		return err
	case errors.As(err, &exception):
		return export.Errorf(judge(exception.Code).Kind, "%w", err)
	case errors.Is(err, context.Canceled):
		return export.Errorf(export.KindCancelled, "%w", err)
	case isConnectionError(err):
		return export.Errorf(export.KindSourceUnavailable, "%w", err)
	}
	return export.Errorf(export.KindInternal, "%w", err)
}

// IsAway tells of an error of this package that ClickHouse did not answer, as against an answer that is an exception.
func IsAway(err error) bool {
	return export.KindOf(err) == export.KindSourceUnavailable && exceptionCode(err) == 0 && isConnectionError(err)
}

// isConnectionError tells the errors of a connection that could not be made, broke, or took too long.
func isConnectionError(err error) bool {
	var network net.Error
	return errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, clickhouse.ErrAcquireConnTimeout) ||
		errors.Is(err, clickhouse.ErrConnectionClosed)
}

// wrap says what was tried when err happened, with the kind of err, and what to do about it where Codes says so.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	remedy := judge(exceptionCode(err)).Text
	if remedy != "" {
		remedy = "; " + remedy
	}
	return export.Errorf(export.KindOf(Classify(err)), "%s: %w%s", what, err, remedy)
}

// exceptionCode is the code of ClickHouse's exception in err's chain, or 0.
func exceptionCode(err error) int32 {
	var exception *Exception
	if errors.As(err, &exception) {
		return exception.Code
	}
	return 0
}

// IsArrivalRefused tells the refusal of a block by the constraint on arrival times: it is older than ten minutes, or
// more than a minute in the future, by ClickHouse's clock. This copy of the block is not in the table; an earlier one
// may be.
func IsArrivalRefused(err error) bool { return exceptionCode(err) == codeViolatedConstraint }

// IsStillRunning tells that the server still runs an earlier copy of the block, or has answered it a moment ago and not
// struck it off its list yet. Whoever repeats a block waits and tries again.
func IsStillRunning(err error) bool { return exceptionCode(err) == codeQueryIDInUse }

// IsPassing tells an error that waiting mends, or that says nothing about the block it came for: the network's, and those
// of a server in trouble. All others come from the block or the tables, and come again.
func IsPassing(err error) bool {
	code := exceptionCode(err)
	return code == 0 || slices.Contains(passingCodes, code)
}
