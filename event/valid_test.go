package event

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// corners of JSON's grammar, on both sides of it.
var corners = []string{
	``, ` `, `"`, `"\`, `"\"`, `"\u`, `"\u12`, `"\u12g4"`, `"\uABcd"`, `"\x"`, `""`, "\"\x00\"", "\"\x1f\"", "\"\x7f\"", "\"\xff\xfe\"", "\" \"",
	`"0123456`, `"01234567`, `"0123456"`, `"01234567"`, `"012345678"`, `"012345\"`, `"0123456\"`, `"0123456\\"`, "\"0123456\n\"", "\"!\x1f\x20\"", `"!"!`, `"]\"`,
	`0`, `-`, `-0`, `00`, `01`, `-01`, `1.`, `.1`, `1.0`, `1.e1`, `1e`, `1e+`, `1E-07`, `1e1.0`, `+1`, `1 2`, `0x1`, `1a`, `NaN`, `Infinity`,
	`true`, `tru`, `truE`, `true1`, `false`, `fals`, `null`, `nul`, `nulll`, `t`, `f`, `n`,
	`{`, `{}`, `{ }`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`, `{a:1}`, `{"a":1}}`, `{"a" : [ 1 , {"b":null} ] } `, `{"a":1,"a":2}`, `{1:2}`, `{"a":1`, `{"a"`, `{"a":`, `{"a":1,`,
	`[`, `[]`, `[ ]`, `[,]`, `[1,]`, `[1 2]`, `[1]]`, `[1`, `[[[]]]`, `[1,2,"3",{}]`, `]`, `}`, `,`, "\uFEFF{}", "{}\x00", "\v{}", "{}\n\t\r ", "/**/{}", `'a'`,
}

// isValid and encoding/json agree on every text: what one takes the other takes.
func TestValidAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range corners {
		if got, want := isValid([]byte(text)), json.Valid([]byte(text)); got != want {
			t.Errorf("%q: %t, and encoding/json says %t", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(jsonValue(4).Draw(t, "value"))
		if !isValid(text) {
			t.Fatalf("%s is not taken", text)
		}
		// One byte changed, added or taken away, which mostly breaks it.
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		other := rapid.SampledFrom([]byte("\"\\{}[],:0-.eE+ tfnu\x00\x1f\x80\n")).Draw(t, "byte")
		for _, changed := range [][]byte{
			bytes.Join([][]byte{text[:at], text[at+1:]}, []byte{other}), bytes.Join([][]byte{text[:at], text[at:]}, []byte{other}),
			bytes.Join([][]byte{text[:at], text[at+1:]}, nil), text[:at],
		} {
			if got, want := isValid(changed), json.Valid(changed); got != want {
				t.Fatalf("%q: %t, and encoding/json says %t", changed, got, want)
			}
		}
	})
}

// Text that is nested deeper than isValid looks is still taken, as deep as encoding/json takes it.
func TestDeepTextIsTakenAsDeepAsEncodingJSONTakesIt(t *testing.T) {
	for depth, taken := range map[int]bool{maxDepth - 1: true, maxDepth: true, maxDepth + 1: true, maxDepth + 2: true, 10_000: true, 10_001: false} {
		text := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		if err := valid(text); (err == nil) != taken || json.Valid(text) != taken {
			t.Errorf("depth %d: %v", depth, err)
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, text := range corners {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := isValid(text), json.Valid(text); got != want && (got || bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) < maxDepth) {
			t.Fatalf("%q: %t, and encoding/json says %t", text, got, want)
		}
	})
}
