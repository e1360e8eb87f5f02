package export

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Content is what rows amount to: how many there are, and the sum of their hashes. Two sides that hold the same rows,
// in any order and any encoding, have the same Content.
//
// The hash of a row covers the values of all its columns in their order, salted with the columns' names and types; the
// sum is modulo 2^64, so that a doubled row shows. How a row's hash is computed is said in docs/proof.md.
type Content struct {
	// Rows is the number of rows.
	Rows uint64
	// Hash is the sum of the rows' hashes, modulo 2^64; 0 when there is no row.
	Hash uint64
}

// Plus is the content of two disjoint sets of rows together.
func (c Content) Plus(other Content) Content {
	return Content{Rows: c.Rows + other.Rows, Hash: c.Hash + other.Hash}
}

// HashText is the hash as it is written everywhere: 16 hexadecimal digits.
func (c Content) HashText() string { return fmt.Sprintf("%016x", c.Hash) }

// String is for messages: "1000 rows with hash 00c0ffee00c0ffee".
func (c Content) String() string { return fmt.Sprintf("%d rows with hash %s", c.Rows, c.HashText()) }

// plainContent is a Content as JSON has it.
type plainContent struct {
	Rows uint64 `json:"rows"`
	Hash string `json:"hash"`
}

// MarshalJSON writes {"rows": 1000, "hash": "00c0ffee00c0ffee"}.
func (c Content) MarshalJSON() ([]byte, error) {
	return json.Marshal(plainContent{Rows: c.Rows, Hash: c.HashText()})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Content) UnmarshalJSON(data []byte) error {
	var plain plainContent
	if err := json.Unmarshal(data, &plain); err != nil {
		return err
	}
	read, err := NewContent(plain.Rows, plain.Hash)
	if err != nil {
		return err
	}
	*c = read
	return nil
}

// NewContent makes a content of a hash in hexadecimal digits.
func NewContent(rows uint64, hash string) (Content, error) {
	sum, err := strconv.ParseUint(hash, 16, 64)
	if err != nil || len(hash) != 16 {
		return Content{}, Errorf(KindInternal, "hash %q is not 16 hexadecimal digits", hash)
	}
	return Content{Rows: rows, Hash: sum}, nil
}
