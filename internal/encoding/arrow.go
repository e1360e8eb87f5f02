package encoding

import (
	"encoding/binary"
	"slices"
)

// The layout of an Arrow IPC file: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format
const (
	arrowMagic = "ARROW1"
	// arrowStart is the magic, filled up to eight bytes.
	arrowStart = arrowMagic + "\x00\x00"
	// arrowPrefix is the mark of a message and the length of its metadata.
	arrowPrefix = 8
	arrowMark   = 0xffffffff
	// arrowEnd is the footer's length in four bytes and the magic.
	arrowEnd = 4 + len(arrowMagic)
	// maxArrowMetadata bounds the memory of a count. The metadata of a schema or a record batch have some hundred bytes for
	// each column, and the footer 24 bytes for each record batch beside a schema.
	maxArrowMetadata = 8 << 20
)

// The kinds of messages that an Arrow file has.
const (
	arrowSchema          = 1
	arrowDictionaryBatch = 2
	arrowRecordBatch     = 3
)

// arrowBlock is where a record batch lies, as the footer names it.
type arrowBlock struct{ offset, metadata, body uint64 }

// arrowFile follows the messages of an Arrow file, adds up the lengths of its record batches, and holds the footer against
// what has passed. Bodies, which are nearly all of a file, go by unseen.
type arrowFile struct {
	part    arrowPart
	pending []byte // of the part, until it is complete
	need    uint64 // how many bytes complete the part
	offset  uint64 // where the next byte is in the file
	message uint64 // where the message began

	rows         uint64
	schema       bool
	batches      []arrowBlock
	dictionaries []arrowBlock
}

// arrowPart is what the next bytes are.
type arrowPart byte

const (
	partStart arrowPart = iota
	partPrefix
	partMetadata
	partBody
	partFooter // up to the end of the file
)

func (f *arrowFile) Write(p []byte) (int, error) {
	if f.offset == 0 {
		f.expect(partStart, uint64(len(arrowStart)))
	}
	for rest := p; len(rest) > 0; {
		n := int(min(f.need, uint64(len(rest))))
		if f.part != partBody {
			f.pending = append(f.pending, rest[:n]...)
		}
		f.need -= uint64(n)
		f.offset += uint64(n)
		rest = rest[n:]
		for f.need == 0 {
			if err := f.complete(); err != nil {
				return len(p), err
			}
		}
	}
	return len(p), nil
}

func (f *arrowFile) expect(part arrowPart, bytes uint64) {
	f.part, f.need, f.pending = part, bytes, f.pending[:0]
}

// complete takes a part that is there wholly, and says what comes next.
func (f *arrowFile) complete() error {
	switch f.part {
	case partStart:
		if string(f.pending) != arrowStart {
			return notWhole("it begins with %q, not with %q", f.pending, arrowStart)
		}
		f.expect(partPrefix, arrowPrefix)
	case partPrefix:
		return f.prefix()
	case partMetadata:
		return f.metadata()
	case partBody:
		f.expect(partPrefix, arrowPrefix)
	case partFooter:
		return notWhole("its footer is longer than the %d bytes that are read: make chunk_rows smaller", maxArrowMetadata)
	}
	return nil
}

func (f *arrowFile) prefix() error {
	f.message = f.offset - arrowPrefix
	length := uint64(binary.LittleEndian.Uint32(f.pending[4:]))
	switch {
	case binary.LittleEndian.Uint32(f.pending) != arrowMark:
		return notWhole("no message begins at byte %d", f.message)
	case length == 0:
		f.expect(partFooter, maxArrowMetadata)
	case length > maxArrowMetadata:
		return notWhole("the message at byte %d has %d bytes of metadata, at most %d are read", f.message, length, maxArrowMetadata)
	default:
		f.expect(partMetadata, length)
	}
	return nil
}

// metadata reads a Message: https://github.com/apache/arrow/blob/main/format/Message.fbs
func (f *arrowFile) metadata() error {
	data := &flat{data: f.pending}
	message := data.root()
	kind, body := uint64(0), uint64(0)
	if at, there := message.field(1); there {
		kind = data.uint8(at)
	}
	if at, there := message.field(3); there {
		body = data.count(at)
	}
	block := arrowBlock{f.message, f.offset - f.message, body}
	switch {
	case kind == arrowSchema && !f.schema:
		f.schema = true
	case kind == arrowRecordBatch && f.schema:
		f.batches = append(f.batches, block)
		f.rows += recordBatchRows(message)
	case kind == arrowDictionaryBatch && f.schema:
		f.dictionaries = append(f.dictionaries, block)
	default:
		data.fail("it is of kind %d, which must not be there", kind)
	}
	if data.err != nil {
		return notWhole("the message at byte %d: %w", f.message, data.err)
	}
	if (len(f.batches)+len(f.dictionaries))*24 > maxArrowMetadata {
		return notWhole("it has %d record batches: make chunk_rows smaller", len(f.batches))
	}
	f.expect(partBody, body)
	return nil
}

// recordBatchRows reads the length of a record batch, which its first column must have as well.
func recordBatchRows(message table) (rows uint64) {
	at, there := message.field(2)
	if !there {
		message.fail("a record batch has no header")
		return 0
	}
	batch := table{message.flat, message.refer(at)}
	if at, there := batch.field(0); there {
		rows = batch.count(at)
	}
	const fieldNode = 16 // bytes: length, and how many are null
	first, columns := batch.vector(1, fieldNode)
	if columns == 0 {
		batch.fail("a record batch has no column")
		return 0
	}
	if length := batch.count(first); length != rows {
		batch.fail("a record batch has %d rows, its first column %d", rows, length)
	}
	return rows
}

func (f *arrowFile) finish() (uint64, error) {
	if f.part != partFooter {
		return 0, notWhole("%d bytes end amid its messages", f.offset)
	}
	size := len(f.pending) - arrowEnd
	if size < 0 || string(f.pending[size+4:]) != arrowMagic {
		return 0, notWhole("it does not end with a footer and %q", arrowMagic)
	}
	if length := binary.LittleEndian.Uint32(f.pending[size:]); uint64(length) != uint64(size) {
		return 0, notWhole("its footer has %d bytes, and says %d", size, length)
	}
	return f.rows, f.footer(f.pending[:size])
}

// footer reads a Footer: https://github.com/apache/arrow/blob/main/format/File.fbs
func (f *arrowFile) footer(bytes []byte) error {
	data := &flat{data: bytes}
	footer := data.root()
	dictionaries, batches := blocks(footer, 2), blocks(footer, 3)
	switch {
	case data.err != nil:
		return notWhole("read footer: %w", data.err)
	case !f.schema:
		return notWhole("it has no schema")
	case !slices.Equal(batches, f.batches) || !slices.Equal(dictionaries, f.dictionaries):
		return notWhole("its footer names other record batches than the %d that it has", len(f.batches))
	}
	return nil
}

// blocks reads a vector of Block, which is a struct of two eight-byte numbers around a four-byte one.
func blocks(footer table, number uint64) []arrowBlock {
	const size = 24
	first, length := footer.vector(number, size)
	var all []arrowBlock
	for i := range length {
		at := first + i*size
		all = append(all, arrowBlock{footer.count(at), footer.count32(at + 8), footer.count(at + 16)})
	}
	return all
}

func (f *arrowFile) close() { f.pending, f.batches, f.dictionaries = nil, nil, nil }
