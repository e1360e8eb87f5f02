package encoding

import "encoding/binary"

// compact reads Thrift's compact protocol, as far as a Parquet footer needs it: fields are visited by number, what
// nobody asks for is skipped. Any input ends in an answer or an error: nothing is allocated by a length that the input
// claims, every step consumes bytes or a bounded count of them, and nesting is bounded.
// Layout: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
type compact struct {
	rest []byte
	err  error
}

// The wire types of the compact protocol.
const (
	wireStop   = 0
	wireTrue   = 1
	wireFalse  = 2
	wireByte   = 3
	wireI16    = 4
	wireI32    = 5
	wireI64    = 6
	wireDouble = 7
	wireBinary = 8
	wireList   = 9
	wireSet    = 10
	wireMap    = 11
	wireStruct = 12
	wireUUID   = 13
)

// maxNesting is far above the five levels of a Parquet footer.
const maxNesting = 32

func (c *compact) fail(format string, args ...any) {
	if c.err == nil {
		c.err = notWhole("read footer: "+format, args...)
	}
	c.rest = nil
}

func (c *compact) byte() byte {
	if len(c.rest) == 0 {
		c.fail("it breaks off")
		return 0
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return b
}

func (c *compact) uvarint() uint64 {
	value, n := binary.Uvarint(c.rest)
	if n <= 0 {
		c.fail("a number breaks off")
		return 0
	}
	c.rest = c.rest[n:]
	return value
}

// integer is a zigzag-encoded integer of any width.
func (c *compact) integer() int64 {
	value := c.uvarint()
	return int64(value>>1) ^ -int64(value&1)
}

func (c *compact) drop(n uint64) {
	if n > uint64(len(c.rest)) {
		c.fail("a value of %d bytes breaks off", n)
		return
	}
	c.rest = c.rest[n:]
}

// structure reads a struct. visit is told each field and must consume it with the method of its type and answer true,
// or answer false, and the field is skipped.
func (c *compact) structure(depth int, visit func(field int64, wire byte) bool) {
	if depth > maxNesting {
		c.fail("it is nested too deeply")
		return
	}
	field := int64(0)
	for c.err == nil {
		header := c.byte()
		wire := header & 0x0f
		if c.err != nil || wire == wireStop {
			return
		}
		if delta := header >> 4; delta != 0 {
			field += int64(delta)
		} else {
			field = c.integer()
		}
		if !visit(field, wire) {
			c.skip(depth+1, wire)
		}
	}
}

// list reads the header of a list or set.
func (c *compact) list() (length uint64, element byte) {
	header := c.byte()
	length = uint64(header >> 4)
	if length == 15 {
		length = c.uvarint()
	}
	if length > uint64(len(c.rest)) { // each element is at least a byte
		c.fail("a list of %d breaks off", length)
		return 0, 0
	}
	return length, header & 0x0f
}

func (c *compact) skip(depth int, wire byte) {
	if depth > maxNesting {
		c.fail("it is nested too deeply")
		return
	}
	switch wire {
	case wireTrue, wireFalse: // the value is in the type
	case wireByte:
		c.drop(1)
	case wireI16, wireI32, wireI64:
		c.uvarint()
	case wireDouble:
		c.drop(8)
	case wireUUID:
		c.drop(16)
	case wireBinary:
		c.drop(c.uvarint())
	case wireList, wireSet:
		length, element := c.list()
		c.skipElements(depth, length, element)
	case wireMap:
		length := c.uvarint()
		if length == 0 {
			return
		}
		types := c.byte()
		if length > uint64(len(c.rest)) {
			c.fail("a map of %d breaks off", length)
			return
		}
		for range length {
			c.skipElements(depth, 1, types>>4)
			c.skipElements(depth, 1, types&0x0f)
			if c.err != nil {
				return
			}
		}
	case wireStruct:
		c.structure(depth+1, func(int64, byte) bool { return false })
	default:
		c.fail("a field has the unknown type %d", wire)
	}
}

func (c *compact) skipElements(depth int, length uint64, element byte) {
	if element == wireTrue || element == wireFalse { // inside collections a boolean is a byte
		c.drop(length)
		return
	}
	for range length {
		if c.err != nil {
			return
		}
		c.skip(depth+1, element)
	}
}
