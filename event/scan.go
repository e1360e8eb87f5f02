package event

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"iter"
	"math/bits"
	"unicode/utf8"
)

// The functions here walk JSON text without decoding it, because a decoded number may be rounded and a decoded object
// has lost its order and its duplicate keys. They expect text that valid has accepted, and do not allocate for values.

// members yields name and text of each member of an object, in order, duplicates too.
func members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) {
		at := space(object, 1)
		for object[at] != '}' {
			nameEnd := skip(object, at)
			name := object[at:nameEnd]
			at = space(object, nameEnd)
			at = space(object, at+1) // the colon
			end := skip(object, at)
			if !yield(memberName(name), object[at:end]) {
				return
			}
			at = space(object, end)
			if object[at] == ',' {
				at = space(object, at+1)
			}
		}
	}
}

// elements yields the text of each element of an array, in order.
func elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		at := space(array, 1)
		for array[at] != ']' {
			end := skip(array, at)
			if !yield(array[at:end]) {
				return
			}
			at = space(array, end)
			if array[at] == ',' {
				at = space(array, at+1)
			}
		}
	}
}

// space is the first index from at on that holds no white space.
func space(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t') {
		at++
	}
	return at
}

// skip is the index after the value that begins at at.
func skip(text []byte, at int) int {
	switch text[at] {
	case '"':
		return skipString(text, at)
	case '{', '[':
		depth := 0
		for {
			switch text[at] {
			case '"':
				at = skipString(text, at)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			at++
			if depth == 0 {
				return at
			}
		}
	default: // a number, true, false, null
		for ; at < len(text); at++ {
			switch text[at] {
			case ',', '}', ']', ' ', '\n', '\r', '\t':
				return at
			}
		}
		return at
	}
}

// skipString is the index after the string that begins at at.
func skipString(text []byte, at int) int {
	for at++; ; at += 2 { // past an escape's first two bytes; the rest of a \u is nothing special
		for ; at+8 <= len(text); at += 8 {
			if special := quotesAndBackslashes(binary.LittleEndian.Uint64(text[at:])); special != 0 {
				at += bits.TrailingZeros64(special) / 8
				break
			}
		}
		for text[at] != '"' && text[at] != '\\' {
			at++
		}
		if text[at] == '"' {
			return at + 1
		}
	}
}

// memberName decodes a member's name; nearly all need no decoding.
func memberName(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	name, _ := unquote(quoted)
	return []byte(name)
}

// unquote decodes a string; false if the value is none. A lone surrogate, which no UTF-8 text can hold, becomes U+FFFD.
func unquote(value []byte) (string, bool) {
	if value[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(value, '\\') < 0 && utf8.Valid(value) {
		return string(value[1 : len(value)-1]), true
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return "", false
	}
	return text, true
}

// isNull tells an absent value and null, which mean the same to us.
func isNull(value []byte) bool { return value == nil || value[0] == 'n' }

// isNumber tells a JSON number.
func isNumber(value []byte) bool { return value[0] == '-' || value[0] >= '0' && value[0] <= '9' }
