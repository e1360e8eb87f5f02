package eventstore

import (
	"bytes"
	"regexp"
	"strconv"

	"github.com/millrace/millrace/export"
)

// endingSize holds ClickHouse's last words: it cuts them at 16 KiB, and the marks around them are short.
const endingSize = 20 << 10

// ending keeps the last bytes of a stream, where an exception or the end of a file shows. Those before them go by unseen.
type ending struct {
	// tag is the random word by which this answer's exception can be told from data.
	tag   string
	bytes []byte
	total uint64
}

func (e *ending) add(p []byte) {
	e.total += uint64(len(p))
	if len(p) >= endingSize {
		e.bytes = append(e.bytes[:0], p[len(p)-endingSize:]...)
		return
	}
	e.bytes = append(e.bytes, p...)
	if excess := len(e.bytes) - endingSize; excess > 0 {
		e.bytes = append(e.bytes[:0], e.bytes[excess:]...)
	}
}

// exceptionMark stands before and after the exception in a stream: mark, tag, text, length and tag, mark, each on a line.
const exceptionMark = "__exception__\r\n"

var codePrefix = regexp.MustCompile(`^Code: ([0-9]{1,9})\. `)

// exception is the exception that ClickHouse wrote behind the data, or nil. In a compressed stream it is compressed too and not found here; such a
// stream still lacks the end that HTTP demands.
func (e *ending) exception() error {
	if e.tag == "" {
		return nil
	}
	opening := []byte(exceptionMark + e.tag + "\r\n")
	at := bytes.Index(e.bytes, opening)
	if at < 0 {
		return nil
	}
	text := e.bytes[at+len(opening):]
	if closing := bytes.LastIndex(text, []byte(" "+e.tag+"\r\n"+exceptionMark)); closing >= 0 {
		text = text[:closing]
		if line := bytes.LastIndexByte(text, '\n'); line >= 0 { // the length
			text = text[:line]
		}
	}
	code := 0
	if found := codePrefix.FindSubmatch(text); found != nil {
		code, _ = strconv.Atoi(string(found[1]))
	}
	return newException(int32(code), string(text))
}

// ends tells whether the last bytes are those of a whole file. What is compressed around ends in a checksum, which only a
// reader of the whole can check.
func (e *ending) ends(encoding export.Encoding) bool {
	switch {
	case encoding.Format == export.FormatParquet:
		return bytes.HasSuffix(e.bytes, []byte("PAR1"))
	case encoding.Format == export.FormatArrow:
		return bytes.HasSuffix(e.bytes, []byte("ARROW1"))
	case encoding.Wrapped():
		return e.total > 0
	case e.total == 0: // lines without a row; CSV has a header all the same
		return encoding.Format != export.FormatCSV
	}
	return bytes.HasSuffix(e.bytes, []byte("\n"))
}
