package export

import (
	"errors"
	"fmt"
)

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

// tooLarge marks a chunk whose file would be larger than it may be.
type tooLarge struct {
	error
	chunkRows uint64
}

// Unwrap gives what TooLarge was given.
func (t tooLarge) Unwrap() error { return t.error }

// TooLarge marks err as that of a chunk whose file would be larger than it may be, and says how many rows would fit, as far
// as was learned. Its plan can never be worked: the next revision is planned with chunks of at most so many rows.
func TooLarge(err error, chunkRows uint64) error {
	if err == nil {
		return nil
	}
	return tooLarge{Unworkable(err), max(chunkRows, 1)}
}

// FittingRows is what TooLarge said of an error in err's chain, and 0 for every other.
func FittingRows(err error) uint64 {
	var marked tooLarge
	if errors.As(err, &marked) {
		return marked.chunkRows
	}
	return 0
}

// gone marks the error of a stored chunk that is not there any more.
type gone struct{ error }

// Unwrap gives what Gone was given.
func (g gone) Unwrap() error { return g.error }

// Gone marks err, which is not nil, as that of a stored chunk that is not there any more, where others say that it is another.
// The kind and the words of err stay.
func Gone(err error) error { return gone{err} }

// IsGone tells whether Gone marked an error in err's chain.
func IsGone(err error) bool {
	var marked gone
	return errors.As(err, &marked)
}
