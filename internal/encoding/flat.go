package encoding

import "encoding/binary"

// flat reads a FlatBuffer, as far as Arrow's messages need it: fields of tables by number, and vectors. What nobody asks
// for is not looked at. Any input ends in an answer or an error: nothing is allocated, and every place is checked against
// the end before it is read.
// Layout: https://flatbuffers.dev/internals
type flat struct {
	data []byte
	err  error
}

func (f *flat) fail(format string, args ...any) {
	if f.err == nil {
		f.err = notWhole(format, args...)
	}
}

// at gives n bytes from a place, or zeros once something has failed.
func (f *flat) at(place, n uint64) []byte {
	if f.err == nil && (place > uint64(len(f.data)) || n > uint64(len(f.data))-place) {
		f.fail("%d bytes at %d are beyond the %d of a message", n, place, len(f.data))
	}
	if f.err != nil {
		return make([]byte, 8)
	}
	return f.data[place : place+n]
}

func (f *flat) uint8(place uint64) uint64  { return uint64(f.at(place, 1)[0]) }
func (f *flat) uint16(place uint64) uint64 { return uint64(binary.LittleEndian.Uint16(f.at(place, 2))) }
func (f *flat) uint32(place uint64) uint64 { return uint64(binary.LittleEndian.Uint32(f.at(place, 4))) }

// count is an int64 that cannot be negative.
func (f *flat) count(place uint64) uint64 {
	value := binary.LittleEndian.Uint64(f.at(place, 8))
	if value > 1<<62 {
		f.fail("a count at %d is %d", place, int64(value))
		return 0
	}
	return value
}

// count32 is an int32 that cannot be negative.
func (f *flat) count32(place uint64) uint64 {
	value := f.uint32(place)
	if value > 1<<31-1 {
		f.fail("a count at %d is %d", place, int32(value))
		return 0
	}
	return value
}

// refer follows an offset to what lies behind it.
func (f *flat) refer(place uint64) uint64 { return place + f.uint32(place) }

// table is a table at its place.
type table struct {
	*flat
	place uint64
}

func (f *flat) root() table { return table{f, f.refer(0)} }

// field is the place of a field's value, or false when the table leaves it out, which stands for its default.
func (t table) field(number uint64) (uint64, bool) {
	fields := t.place - uint64(int64(int32(t.uint32(t.place)))) // a signed distance, backwards
	size := t.uint16(fields)
	entry := 4 + 2*number
	if t.err != nil || entry+2 > size {
		return 0, false
	}
	offset := t.uint16(fields + entry)
	return t.place + offset, offset != 0
}

// vector is the place of a vector's first element, and how many of the given size there are.
func (t table) vector(number, size uint64) (first, length uint64) {
	place, there := t.field(number)
	if !there {
		return 0, 0
	}
	start := t.refer(place)
	length = t.uint32(start)
	t.at(start+4, length*size)
	if t.err != nil {
		return 0, 0
	}
	return start + 4, length
}
