package s3

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"

	"github.com/millrace/millrace/export"
)

// size is a number of bytes, written with its unit: "512MiB".
type size uint64

// Bounds of max_file_size: a file has a footer, and 10,000 parts are 117 GiB.
const (
	smallestMaxFile size = 64 << 10
	largestMaxFile  size = 100 << 30
)

var sizeUnits = []struct {
	name  string
	bytes uint64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

var sizeText = regexp.MustCompile(`^([0-9]{1,9})(KiB|MiB|GiB)$`)

// MarshalJSON writes the size with its largest unit, so that equal sizes have one text.
func (s size) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// String is the size with the largest unit that divides it.
func (s size) String() string {
	for _, unit := range sizeUnits {
		if uint64(s)%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", uint64(s)/unit.bytes, unit.name)
		}
	}
	return strconv.FormatUint(uint64(s), 10)
}

// UnmarshalJSON reads a number with KiB, MiB or GiB.
func (s *size) UnmarshalJSON(text []byte) error {
	var read string
	if bytes.Equal(text, []byte("null")) {
		return nil
	}
	err := json.Unmarshal(text, &read)
	parts := sizeText.FindStringSubmatch(read)
	if err != nil || parts == nil {
		return export.Errorf(export.KindConfig, "max_file_size: %s is not a size: give it as \"512MiB\", with KiB, MiB or GiB", text)
	}
	number, _ := strconv.ParseUint(parts[1], 10, 64) // digits, and not too many
	for _, unit := range sizeUnits {
		if unit.name == parts[2] {
			*s = size(number * unit.bytes)
		}
	}
	if *s < smallestMaxFile || *s > largestMaxFile {
		return export.Errorf(export.KindConfig, "max_file_size: %q must be from %s to %s", read, smallestMaxFile, largestMaxFile)
	}
	return nil
}
