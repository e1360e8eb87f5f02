package encoding

import "bytes"

// lines counts JSONEachRow: one JSON object a line. ClickHouse escapes newlines inside strings, so each newline ends
// a row.
type lines struct {
	rows uint64
	last byte // the byte before the next one; 0 at the beginning
}

func (l *lines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if l.atLineStart() && rest[0] != '{' {
			return len(p), notWhole("line %d begins with %q, not with a JSON object", l.rows+1, rest[0])
		}
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			l.last = rest[len(rest)-1]
			break
		}
		if end > 0 {
			l.last = rest[end-1]
		}
		if l.last != '}' {
			return len(p), notWhole("line %d ends with %q, not with the end of a JSON object", l.rows+1, l.last)
		}
		l.rows++
		l.last = '\n'
		rest = rest[end+1:]
	}
	return len(p), nil
}

func (l *lines) atLineStart() bool { return l.last == 0 && l.rows == 0 || l.last == '\n' }

func (l *lines) finish() (uint64, error) {
	if !l.atLineStart() {
		return 0, notWhole("line %d has no end", l.rows+1)
	}
	return l.rows, nil
}

func (l *lines) close() {}
