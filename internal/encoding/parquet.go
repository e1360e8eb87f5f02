package encoding

import "encoding/binary"

const (
	parquetMagic = "PAR1"
	// parquetEnd is the footer's length in four bytes and the magic.
	parquetEnd = 4 + len(parquetMagic)
	// maxFooter is the largest footer that a count keeps for reading. ClickHouse writes about 150 bytes for each column
	// of each row group, so this is some 50,000 of them; a chunk of a million rows of ten columns has ten or twenty.
	maxFooter = 8 << 20
)

// parquetFile keeps the first four bytes and a bounded end of a Parquet file, and reads the footer out of it.
type parquetFile struct {
	head []byte
	tail tail
}

func (f *parquetFile) Write(p []byte) (int, error) {
	if missing := len(parquetMagic) - len(f.head); missing > 0 {
		f.head = append(f.head, p[:min(missing, len(p))]...)
		if string(f.head) != parquetMagic[:len(f.head)] {
			return len(p), notWhole("it begins with %q, not with %q", f.head, parquetMagic)
		}
	}
	f.tail.write(p)
	return len(p), nil
}

func (f *parquetFile) finish() (uint64, error) {
	size := f.tail.total
	if size < uint64(len(parquetMagic)+parquetEnd) {
		return 0, notWhole("%d bytes are too few for a Parquet file", size)
	}
	end := f.tail.last(parquetEnd)
	if string(end[4:]) != parquetMagic {
		return 0, notWhole("it ends with %q, not with %q", end[4:], parquetMagic)
	}
	length := uint64(binary.LittleEndian.Uint32(end))
	if length > size-uint64(len(parquetMagic)+parquetEnd) {
		return 0, notWhole("its footer of %d bytes is longer than the file of %d", length, size)
	}
	if length > maxFooter {
		return 0, notWhole("its footer of %d bytes is longer than the %d that are read: make chunk_rows smaller", length, maxFooter)
	}
	footerStart := size - uint64(parquetEnd) - length
	footer, err := readFooter(f.tail.last(parquetEnd + int(length))[:length])
	switch {
	case err != nil:
		return 0, err
	case footer.rows != footer.groupRows:
		return 0, notWhole("its footer says %d rows, its row groups %d", footer.rows, footer.groupRows)
	case footer.end != footerStart:
		return 0, notWhole("its footer describes %d bytes before it, there are %d", footer.end, footerStart)
	}
	return footer.rows, nil
}

func (f *parquetFile) close() { f.tail = tail{} }

// footer is what a count reads of a Parquet file's FileMetaData.
type footer struct {
	rows      uint64
	groupRows uint64
	// end is where the last region that the footer points to ends.
	end uint64
}

// readFooter decodes a footer. Field numbers: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
func readFooter(data []byte) (footer, error) {
	result := footer{end: uint64(len(parquetMagic))}
	in := &compact{rest: data}
	hasRows := false
	in.structure(0, func(field int64, wire byte) bool {
		switch {
		case field == 3 && wire == wireI64: // num_rows
			result.rows, hasRows = in.count(), true
		case field == 4 && wire == wireList: // row_groups
			in.structures(1, func() { readRowGroup(in, &result) })
		default:
			return false
		}
		return true
	})
	if in.err == nil && len(in.rest) > 0 {
		in.fail("%d bytes follow its end", len(in.rest))
	}
	if in.err == nil && !hasRows {
		in.fail("it has no row count")
	}
	return result, in.err
}

func readRowGroup(in *compact, result *footer) {
	in.structure(2, func(field int64, wire byte) bool {
		switch {
		case field == 1 && wire == wireList: // columns
			in.structures(3, func() { readColumn(in, result) })
		case field == 3 && wire == wireI64: // num_rows
			result.groupRows += in.count()
		default:
			return false
		}
		return true
	})
}

// region is a range of the file that the footer points to.
type region struct{ start, length uint64 }

func readColumn(in *compact, result *footer) {
	var pages, offsetIndex, columnIndex, bloom region
	var dataPage, dictionaryPage uint64
	in.structure(4, func(field int64, wire byte) bool {
		switch {
		case field == 3 && wire == wireStruct: // meta_data
			in.structure(5, func(field int64, wire byte) bool {
				target := map[int64]*uint64{7: &pages.length, 9: &dataPage, 11: &dictionaryPage, 14: &bloom.start, 15: &bloom.length}[field]
				return in.countInto(target, wire)
			})
			return true
		}
		target := map[int64]*uint64{4: &offsetIndex.start, 5: &offsetIndex.length, 6: &columnIndex.start, 7: &columnIndex.length}[field]
		return in.countInto(target, wire)
	})
	pages.start = dataPage
	if dictionaryPage != 0 && dictionaryPage < dataPage {
		pages.start = dictionaryPage
	}
	for _, part := range []region{pages, offsetIndex, columnIndex, bloom} {
		result.end = max(result.end, part.start+part.length)
	}
}

// count is an integer that cannot be negative; half the range of uint64, so that two can be added.
func (c *compact) count() uint64 {
	value := c.integer()
	if value < 0 {
		c.fail("a count is %d", value)
		return 0
	}
	return uint64(value)
}

func (c *compact) countInto(target *uint64, wire byte) bool {
	if target == nil || wire != wireI32 && wire != wireI64 {
		return false
	}
	*target = c.count()
	return true
}

// structures reads a list of structs.
func (c *compact) structures(depth int, each func()) {
	length, element := c.list()
	if length > 0 && element != wireStruct {
		c.fail("a list at level %d is not of structs", depth)
		return
	}
	for range length {
		if c.err != nil {
			return
		}
		each()
	}
}

// tail keeps the last bytes of a stream, as many as the largest footer needs. It grows with the stream up to that.
type tail struct {
	buffer []byte
	total  uint64
}

const tailSize = maxFooter + parquetEnd

func (t *tail) write(p []byte) {
	t.total += uint64(len(p))
	if skipped := len(p) - tailSize; skipped > 0 {
		p = p[skipped:]
	}
	if t.total <= uint64(tailSize) {
		t.buffer = append(t.buffer, p...)
		return
	}
	if len(t.buffer) < tailSize {
		t.buffer = append(t.buffer, make([]byte, tailSize-len(t.buffer))...)
	}
	// From here on byte i of the stream lies at i modulo tailSize, as it did while the buffer grew.
	at := int((t.total - uint64(len(p))) % uint64(tailSize))
	n := copy(t.buffer[at:], p)
	copy(t.buffer, p[n:])
}

// last gives the last n bytes of the stream, in order; n must not be more than have passed or are kept.
func (t *tail) last(n int) []byte {
	out := make([]byte, 0, n)
	at := int((t.total - uint64(n)) % uint64(tailSize))
	if t.total <= uint64(tailSize) {
		at = int(t.total) - n
	}
	first := min(n, len(t.buffer)-at)
	out = append(out, t.buffer[at:at+first]...)
	return append(out, t.buffer[:n-first]...)
}
