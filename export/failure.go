package export

import (
	"errors"
	"fmt"
)

// Kind is what went wrong, out of a closed set. It decides whether trying again can help, and it is what people
// filter by (search attribute MillraceErrorKind).
type Kind string

// The kinds. Those of the user (see Kind.UserMustAct) end a run at once; the rest are tried again until give_up_after.
const (
	KindConfig                 Kind = "config"                  // a definition, connection or argument is wrong
	KindAuth                   Kind = "auth"                    // the destination does not know these credentials
	KindPermission             Kind = "permission"              // it knows them, and refuses this act
	KindNotFound               Kind = "not_found"               // a bucket, table or connection is not there
	KindSchema                 Kind = "schema"                  // columns or types do not fit the destination
	KindData                   Kind = "data"                    // a row cannot be written as it is, or what is stored is not what was read
	KindQuota                  Kind = "quota"                   // the destination throttles, or is full
	KindDestinationUnavailable Kind = "destination_unavailable" // it does not answer, or answers with its own trouble
	KindSourceUnavailable      Kind = "source_unavailable"      // ClickHouse does not answer, or broke off
	KindSourceBehind           Kind = "source_behind"           // the watermark has not passed the interval's end
	KindCancelled              Kind = "cancelled"               // somebody stopped it
	KindInternal               Kind = "internal"                // ours: please report it
)

// Kinds lists the closed set in the order of the documentation.
func Kinds() []Kind {
	return []Kind{
		KindConfig, KindAuth, KindPermission, KindNotFound, KindSchema, KindData, KindQuota,
		KindDestinationUnavailable, KindSourceUnavailable, KindSourceBehind, KindCancelled, KindInternal,
	}
}

// UserMustAct tells the kinds that no repetition mends: somebody must change a definition, a credential or the data.
func (k Kind) UserMustAct() bool {
	switch k {
	case KindConfig, KindAuth, KindPermission, KindNotFound, KindSchema, KindData:
		return true
	}
	return false
}

// Error is a failure with its kind. Its text is a plain sentence for people and holds no secret.
type Error struct {
	Kind Kind
	err  error
}

// Errorf makes an Error; %w works as in fmt.Errorf.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, err: fmt.Errorf(format, args...)}
}

// Error is the sentence, without the kind.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap gives what Errorf wrapped.
func (e *Error) Unwrap() error { return e.err }

// KindOf is the kind of the outermost Error in err's chain, or KindInternal when nobody classified it.
func KindOf(err error) Kind {
	var classified *Error
	if errors.As(err, &classified) {
		return classified.Kind
	}
	return KindInternal
}

// unworkable marks an error that ends the work on a revision.
type unworkable struct{ error }

// Unwrap gives what Unworkable was given.
func (u unworkable) Unwrap() error { return u.error }

// Unworkable marks err as one after which the plan of a run can never be worked, however often it is tried: its rows
// are no longer those of the source, or what is stored under its keys is not what was written there. The revision has
// to be closed, and the run done again as the next one. The kind and the words of err stay.
func Unworkable(err error) error {
	if err == nil {
		return nil
	}
	return unworkable{err}
}

// IsUnworkable tells whether Unworkable marked an error in err's chain.
func IsUnworkable(err error) bool {
	var marked unworkable
	return errors.As(err, &marked)
}
