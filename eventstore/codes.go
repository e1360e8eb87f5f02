package eventstore

import (
	"strconv"

	"github.com/millrace/millrace/export"
)

// The codes of ClickHouse's exceptions that something here depends on, from its src/Common/ErrorCodes.cpp.
const (
	codeUnknownTable       = 60
	codeUnknownDatabase    = 81
	codeQueryIDInUse       = 216
	codeViolatedConstraint = 469
)

// Verdicts that several codes share.
var (
	ours        = export.KindInternal.Means("a query of Millrace is wrong, or the server is not of the version it was written for: please report it")
	missing     = export.KindSourceUnavailable.Means("run `millrace setup`")
	wrongLogin  = export.KindSourceUnavailable.Means("correct user and password in MILLRACE_CLICKHOUSE_URL")
	noRight     = export.KindSourceUnavailable.Means("grant the user of MILLRACE_CLICKHOUSE_URL this right")
	readOnly    = export.KindSourceUnavailable.Means("server, table or user is read-only: let it be written to; " + export.TryAgain)
	tooMuch     = export.KindSourceUnavailable.Means("the server has too much to do: " + export.TryAgain)
	noMemory    = export.KindSourceUnavailable.Means("the server has too little memory for now: " + export.TryAgain)
	noSpace     = export.KindSourceUnavailable.Means("the server's disk is full: make room; " + export.TryAgain)
	tookTooLong = export.KindSourceUnavailable.Means("the server took too long: " + export.TryAgain)
	limited     = export.KindSourceUnavailable.Means("a limit of the user's profile or quota forbids the query: raise it")
	brokenOff   = export.KindSourceUnavailable.Means("the query was broken off at the server: " + export.TryAgain)
	noKeeper    = export.KindSourceUnavailable.Means("replicas or their keeper are in trouble: " + export.TryAgain)
	earlierCopy = export.KindSourceUnavailable.Means("the server still runs an earlier copy: " + export.TryAgain)
	notNow      = export.KindSourceUnavailable.Means("the arrival times are too old or in the future: " + export.TryAgain)
)

// Codes is the table of ClickHouse's exceptions. A code that is not in it is taken for a state of the server that passes
// or that its operator mends: a server that is away, overloaded, without its tables or without our user is
// `source_unavailable`, which is tried again, for no user of an export did it. What is `internal` no repetition mends.
var Codes = export.Codes{
	"6":   ours, // CANNOT_PARSE_TEXT
	"36":  ours, // BAD_ARGUMENTS
	"42":  ours, // NUMBER_OF_ARGUMENTS_DOESNT_MATCH
	"43":  ours, // ILLEGAL_TYPE_OF_ARGUMENT
	"46":  ours, // UNKNOWN_FUNCTION
	"53":  ours, // TYPE_MISMATCH
	"62":  ours, // SYNTAX_ERROR
	"73":  ours, // UNKNOWN_FORMAT
	"115": ours, // UNKNOWN_SETTING

	"47": missing, // UNKNOWN_IDENTIFIER: a column
	"60": missing, // UNKNOWN_TABLE
	"81": missing, // UNKNOWN_DATABASE

	"192": wrongLogin, // UNKNOWN_USER
	"193": wrongLogin, // WRONG_PASSWORD
	"194": wrongLogin, // REQUIRED_PASSWORD
	"516": wrongLogin, // AUTHENTICATION_FAILED
	"497": noRight,    // ACCESS_DENIED
	"164": readOnly,   // READONLY
	"242": readOnly,   // TABLE_IS_READ_ONLY
	"774": readOnly,   // TABLE_IS_PERMANENTLY_READ_ONLY

	"158": limited, // TOO_MANY_ROWS
	"307": limited, // TOO_MANY_BYTES
	"201": limited, // QUOTA_EXCEEDED
	"290": limited, // LIMIT_EXCEEDED

	"159": tookTooLong, // TIMEOUT_EXCEEDED
	"160": tookTooLong, // TOO_SLOW
	"209": tookTooLong, // SOCKET_TIMEOUT
	"210": brokenOff,   // NETWORK_ERROR
	"202": tooMuch,     // TOO_MANY_SIMULTANEOUS_QUERIES
	"252": tooMuch,     // TOO_MANY_PARTS
	"241": noMemory,    // MEMORY_LIMIT_EXCEEDED
	"243": noSpace,     // NOT_ENOUGH_SPACE
	"236": brokenOff,   // ABORTED
	"394": brokenOff,   // QUERY_WAS_CANCELLED
	"225": noKeeper,    // NO_ZOOKEEPER
	"999": noKeeper,    // KEEPER_EXCEPTION
	"285": noKeeper,    // TOO_FEW_LIVE_REPLICAS
	"319": noKeeper,    // UNKNOWN_STATUS_OF_INSERT

	"216": earlierCopy, // QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING
	"469": notNow,      // VIOLATED_CONSTRAINT
}

// judge looks a code up.
func judge(code int32) export.Verdict {
	found, known := Codes.Judge(strconv.Itoa(int(code)), 0)
	if !known {
		return export.KindSourceUnavailable.Means("")
	}
	return found
}
