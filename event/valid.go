package event

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

// valid says why text is not one JSON value, or nil. Strings may still hold bytes that are not UTF-8.
//
// Every message is looked at, so this is done eight bytes at a time, which takes a fifth of the time that encoding/json
// needs. What it does not accept is put to encoding/json, which has the last word and the words for people.
func valid(text []byte) error {
	if isValid(text) {
		return nil
	}
	var any json.RawMessage
	return json.Unmarshal(text, &any)
}

// maxDepth is to which depth isValid looks by itself; encoding/json takes 10,000.
const maxDepth = 200

// isValid tells that text is one JSON value by the grammar of encoding/json. False means that it was not seen to be one.
func isValid(text []byte) bool {
	end := validValue(text, space(text, 0), 0)
	return end >= 0 && space(text, end) == len(text)
}

// validValue is the index after the value that begins at at, or -1.
func validValue(text []byte, at, depth int) int {
	if at >= len(text) || depth > maxDepth {
		return -1
	}
	switch text[at] {
	case '"':
		return validString(text, at)
	case '{':
		return validObject(text, at, depth)
	case '[':
		return validArray(text, at, depth)
	case 't':
		return validWord(text, at, "true")
	case 'f':
		return validWord(text, at, "false")
	case 'n':
		return validWord(text, at, "null")
	}
	return validNumber(text, at)
}

func validObject(text []byte, at, depth int) int {
	return walk(text, at, depth, func(_ []byte, at int) int { return validValue(text, at, depth+1) })
}

// walk checks the object that begins at at, and is its end, or -1. The name of each member is handed to value with the index
// where its value begins; value is the index after it, or -1 if it is not valid.
func walk(text []byte, at, depth int, value func(name []byte, at int) int) int {
	if at >= len(text) || text[at] != '{' || depth > maxDepth {
		return -1
	}
	at = space(text, at+1)
	if at < len(text) && text[at] == '}' {
		return at + 1
	}
	for {
		if at >= len(text) || text[at] != '"' {
			return -1
		}
		name := at
		if at = validString(text, at); at < 0 {
			return -1
		}
		nameEnd := at
		if at = space(text, at); at >= len(text) || text[at] != ':' {
			return -1
		}
		if at = value(memberName(text[name:nameEnd]), space(text, at+1)); at < 0 {
			return -1
		}
		if at = space(text, at); at >= len(text) {
			return -1
		}
		switch text[at] {
		case '}':
			return at + 1
		case ',':
			at = space(text, at+1)
		default:
			return -1
		}
	}
}

func validArray(text []byte, at, depth int) int {
	at = space(text, at+1)
	if at < len(text) && text[at] == ']' {
		return at + 1
	}
	for {
		if at = validValue(text, at, depth+1); at < 0 {
			return -1
		}
		if at = space(text, at); at >= len(text) {
			return -1
		}
		switch text[at] {
		case ']':
			return at + 1
		case ',':
			at = space(text, at+1)
		default:
			return -1
		}
	}
}

// validString is the index after the string that begins at at, or -1.
func validString(text []byte, at int) int {
	for at++; ; {
		for ; at+8 <= len(text); at += 8 {
			word := binary.LittleEndian.Uint64(text[at:])
			if special := quotesAndBackslashes(word) | controls(word); special != 0 {
				at += bits.TrailingZeros64(special) / 8
				break
			}
		}
		for ; at < len(text); at++ { // what is special, or one of the last seven bytes
			if c := text[at]; c == '"' || c == '\\' || c < ' ' {
				break
			}
		}
		if at >= len(text) || text[at] < ' ' {
			return -1
		}
		if text[at] == '"' {
			return at + 1
		}
		if at = validEscape(text, at+1); at < 0 {
			return -1
		}
	}
}

// validEscape is the index after the escape whose backslash stands before at, or -1.
func validEscape(text []byte, at int) int {
	if at >= len(text) {
		return -1
	}
	switch text[at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return at + 1
	case 'u':
		if at+5 > len(text) {
			return -1
		}
		for _, c := range text[at+1 : at+5] {
			if isHex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'; !isHex {
				return -1
			}
		}
		return at + 5
	}
	return -1
}

func validWord(text []byte, at int, word string) int {
	if end := at + len(word); end <= len(text) && string(text[at:end]) == word {
		return end
	}
	return -1
}

// validNumber is the index after the number that begins at at, or -1.
func validNumber(text []byte, at int) int {
	if at < len(text) && text[at] == '-' {
		at++
	}
	whole := at
	at = digits(text, at)
	if at == whole || text[whole] == '0' && at > whole+1 {
		return -1
	}
	if at < len(text) && text[at] == '.' {
		fraction := at + 1
		if at = digits(text, fraction); at == fraction {
			return -1
		}
	}
	if at < len(text) && (text[at] == 'e' || text[at] == 'E') {
		at++
		if at < len(text) && (text[at] == '+' || text[at] == '-') {
			at++
		}
		exponent := at
		if at = digits(text, exponent); at == exponent {
			return -1
		}
	}
	return at
}

// digits is the first index from at on that holds no digit.
func digits(text []byte, at int) int {
	for at < len(text) && text[at] >= '0' && text[at] <= '9' {
		at++
	}
	return at
}

// Eight bytes at once: in the results the high bit of the lowest byte that is meant is set, and no bit below it. Bits above
// it may be set for others, because a subtraction borrows from the next byte only at one that is meant.

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

func quotesAndBackslashes(word uint64) uint64 {
	quote, backslash := word^('"'*lowBits), word^('\\'*lowBits)
	return ((quote-lowBits)&^quote | (backslash-lowBits)&^backslash) & highBits
}

// controls finds bytes below a blank.
func controls(word uint64) uint64 { return (word - ' '*lowBits) &^ word & highBits }
