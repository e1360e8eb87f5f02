package encoding_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/millrace/millrace/internal/encoding"
)

// refereeOfArrow counts with Apache's own reader, which decodes every batch. It is for whole files: of a broken one it
// allocates what that claims.
func refereeOfArrow(file []byte) (rows uint64, batches int, err error) {
	reader, err := ipc.NewFileReader(bytes.NewReader(file))
	if err != nil {
		return 0, 0, err
	}
	defer reader.Close()
	for i := range reader.NumRecords() {
		batch, err := reader.RecordBatchAt(i)
		if err != nil {
			return 0, 0, err
		}
		rows += uint64(batch.NumRows())
		batch.Release()
	}
	return rows, reader.NumRecords(), nil
}

func TestRowsOfArrowAreThoseOfItsReferee(t *testing.T) {
	for name, want := range map[string]uint64{"thousand.arrow": 1000, "empty.arrow": 0} {
		file := golden(t, name)
		rows, batches, err := refereeOfArrow(file)
		if err != nil || rows != want || want > 0 && batches < 4 {
			t.Fatalf("%s: the referee counts %d rows in %d batches (%v)", name, rows, batches, err)
		}
		if counted, err := count(t, arrow, file); err != nil || counted != rows {
			t.Errorf("%s: counted %d rows (%v), the referee %d", name, counted, err, rows)
		}
	}
}

// arrowFooterStart is where the footer begins.
func arrowFooterStart(file []byte) int {
	return len(file) - 10 - int(binary.LittleEndian.Uint32(file[len(file)-10:]))
}

// messages are where the messages of a file begin, and at last where the mark of their end is. What looks like one amid
// data would have to be at a multiple of eight bytes, with a small length behind it.
func messages(file []byte) []int {
	var starts []int
	for at := 8; at < arrowFooterStart(file); at += 8 {
		length := binary.LittleEndian.Uint32(file[at+4:])
		if binary.LittleEndian.Uint32(file[at:]) == 0xffffffff && length < 4096 && length%8 == 0 {
			starts = append(starts, at)
		}
	}
	return starts
}

func TestWhatIsNoArrowIsSaidPlainly(t *testing.T) {
	whole := golden(t, "thousand.arrow")
	footer, starts := arrowFooterStart(whole), messages(whole)
	if len(starts) != 6 { // a schema, four batches, the end
		t.Fatalf("the file has messages at %v", starts)
	}
	join := func(pieces ...[]byte) []byte { return slices.Concat(pieces...) }
	for name, test := range map[string]struct {
		file []byte
		want string
	}{
		"another format":                     {[]byte("Code: 241. DB::Exception"), `it begins with "Code: 24", not with "ARROW1\x00\x00"`},
		"no byte":                            {nil, "0 bytes end amid its messages"},
		"the messages alone":                 {whole[:footer], `it does not end with a footer and "ARROW1"`},
		"half its messages":                  {whole[:starts[3]], fmt.Sprintf("%d bytes end amid its messages", starts[3])},
		"without the last byte":              {whole[:len(whole)-1], `it does not end with a footer and "ARROW1"`},
		"a batch that is left out":           {join(whole[:starts[2]], whole[starts[3]:]), "its footer names other record batches than the 3 that it has"},
		"a batch that is there twice":        {join(whole[:starts[2]], whole[starts[1]:]), "its footer names other record batches than the 5 that it has"},
		"an exception between two batches":   {join(whole[:starts[2]], []byte("\r\n__exception__\r\n"), whole[starts[2]:]), fmt.Sprintf("no message begins at byte %d", starts[2])},
		"a second file behind it":            {join(whole, whole), fmt.Sprintf("its footer has %d bytes, and says %d", len(whole)+len(whole)-footer-10, len(whole)-footer-10)},
		"a schema in the middle of batches":  {join(whole[:starts[1]], whole[starts[0]:]), fmt.Sprintf("the message at byte %d: file is not whole: it is of kind 1, which must not be there", starts[1])},
		"batches without a schema":           {join(whole[:starts[0]], whole[starts[1]:]), fmt.Sprintf("the message at byte %d: file is not whole: it is of kind 3, which must not be there", starts[0])},
		"metadata of more than eight MiB":    {join(whole[:8], []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1}), "the message at byte 8 has 16777216 bytes of metadata, at most 8388608 are read"},
		"a footer that is longer than a MiB": {join(whole[:footer], make([]byte, 9<<20)), "its footer is longer than the 8388608 bytes that are read: make chunk_rows smaller"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{64 << 10, 1000, 7} {
				if _, err := count(t, arrow, test.file, piece); err == nil || err.Error() != "file is not whole: "+test.want {
					t.Errorf("in pieces of %d: got %v, want %s", piece, err, test.want)
				}
			}
		})
	}
}

// Whatever one bit does to messages and footer, the count is the file's or there is none. Bodies are not looked at: what is
// in them, values, is read back.
func TestOneFlippedBitNeverChangesTheCountOfArrow(t *testing.T) {
	whole := golden(t, "thousand.arrow")
	looked := make([]bool, len(whole))
	for _, start := range messages(whole) {
		for i := range 8 + int(binary.LittleEndian.Uint32(whole[start+4:])) {
			looked[start+i] = true
		}
	}
	for at := range whole {
		for bit := byte(1); bit > 0 && (looked[at] || at >= arrowFooterStart(whole)); bit <<= 1 {
			file := slices.Clone(whole)
			file[at] ^= bit
			rows, err := count(t, arrow, file)
			switch {
			case err == nil && rows != 1000:
				t.Fatalf("counted %d rows with bit %d of byte %d flipped", rows, bit, at)
			case err != nil && !errors.Is(err, encoding.ErrNotWhole):
				t.Fatalf("byte %d: %v does not wrap ErrNotWhole", at, err)
			}
		}
	}
}

func FuzzArrow(f *testing.F) {
	f.Add(golden(f, "thousand.arrow"))
	f.Add(golden(f, "empty.arrow"))
	f.Fuzz(func(t *testing.T, file []byte) {
		rows, err := count(t, arrow, file)
		again, errAgain := count(t, arrow, file, 1, 13)
		if rows != again || (err == nil) != (errAgain == nil) {
			t.Errorf("%d (%v) in one piece, %d (%v) in many", rows, err, again, errAgain)
		}
		if err != nil && !errors.Is(err, encoding.ErrNotWhole) {
			t.Errorf("%v does not wrap ErrNotWhole", err)
		}
	})
}
