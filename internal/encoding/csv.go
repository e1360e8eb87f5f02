package encoding

import "bytes"

// records counts CSV with a header. A quoted field may hold commas and newlines, and a quote that is written twice, so only
// the state of the fields tells where a row ends. ClickHouse quotes every text and nothing else, and a header too.
type records struct {
	state   fieldState
	fields  uint64 // of the record that is being read, without the one that is open
	columns uint64 // of the header, and so of every record
	ended   uint64 // records, the header among them
}

// fieldState is where in a field the next byte is.
type fieldState byte

const (
	fieldBegins fieldState = iota
	fieldPlain
	fieldQuoted
	fieldQuote // behind a quote inside a quoted field: its end, or the first of two
)

// Write counts, and tells of the first byte that ClickHouse would not have written.
func (r *records) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i++ {
		if r.state == fieldQuoted {
			next := bytes.IndexByte(p[i:], '"')
			if next < 0 {
				break
			}
			i += next
			r.state = fieldQuote
			continue
		}
		switch b := p[i]; {
		case b == ',':
			r.fields++
			r.state = fieldBegins
		case b == '\n':
			if err := r.end(); err != nil {
				return len(p), err
			}
		case b == '"' && r.state != fieldPlain: // a field begins, or it was the first of two
			r.state = fieldQuoted
		case b == '"' || b < ' ' || r.state == fieldQuote:
			return len(p), notWhole("record %d has %q where a field ends or goes on", r.ended+1, b)
		default:
			r.state = fieldPlain
		}
	}
	return len(p), nil
}

// end ends a record.
func (r *records) end() error {
	r.fields++
	if r.ended == 0 {
		r.columns = r.fields
	}
	if r.fields != r.columns {
		return notWhole("record %d has %d fields, the header has %d", r.ended+1, r.fields, r.columns)
	}
	r.ended++
	r.fields, r.state = 0, fieldBegins
	return nil
}

func (r *records) finish() (uint64, error) {
	switch {
	case r.state != fieldBegins || r.fields != 0:
		return 0, notWhole("record %d has no end", r.ended+1)
	case r.ended == 0:
		return 0, notWhole("it has no header")
	}
	return r.ended - 1, nil
}

func (r *records) close() {}
