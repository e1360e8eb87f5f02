package encoding

import "bytes"

// newlines counts TabSeparated: a row ends with a newline, and no value holds one.
type newlines struct {
	rows  uint64
	ended bool // the last byte was a newline
	any   bool
}

// Write counts; it never finds a fault before the end.
func (n *newlines) Write(p []byte) (int, error) {
	if len(p) > 0 {
		n.rows += uint64(bytes.Count(p, []byte{'\n'}))
		n.any, n.ended = true, p[len(p)-1] == '\n'
	}
	return len(p), nil
}

func (n *newlines) finish() (uint64, error) {
	if n.any && !n.ended {
		return 0, notWhole("line %d has no end", n.rows+1)
	}
	return n.rows, nil
}

func (n *newlines) close() {}
