package eventstore

// Classify gives an error of ClickHouse, or of the way to it, its kind, by the code of the exception and never by its
// text. An error that has a kind keeps it; nil stays nil.
func Classify(err error) error { return err }

// IsArrivalRefused tells the refusal of a block by the constraint on arrival times: it is older than ten minutes, or
// more than a minute in the future, by ClickHouse's clock. Such a block is not in the table and never will be.
func IsArrivalRefused(err error) bool { return false }
