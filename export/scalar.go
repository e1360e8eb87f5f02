package export

import (
	"strconv"
	"strings"
)

// Scalar is a type of ClickHouse that holds one value: a number, a text, an instant, and so on.
type Scalar struct {
	// Name is the type's name without its arguments: "DateTime64".
	Name string
	// Args are its arguments as they were written: "6" and "'UTC'". The values of an Enum are among them.
	Args []string
	// Nullable tells that a value may be NULL.
	Nullable bool
}

// NewScalar reads a type's name as ClickHouse writes it. LowCardinality, which changes no value, is taken off. The error
// is of a type that is none, and of one that holds several values: Array, Tuple, Map and their relatives.
func NewScalar(name string) (Scalar, error) {
	var s Scalar
	rest := strings.TrimSpace(name)
	for {
		head, inner, found := strings.Cut(rest, "(")
		if !found || head != "Nullable" && head != "LowCardinality" || !strings.HasSuffix(inner, ")") {
			break
		}
		s.Nullable = s.Nullable || head == "Nullable"
		rest = strings.TrimSpace(strings.TrimSuffix(inner, ")"))
	}
	head, inner, found := strings.Cut(rest, "(")
	s.Name = head
	if found {
		if !strings.HasSuffix(inner, ")") {
			return Scalar{}, Errorf(KindConfig, "type %q ends within its brackets", name)
		}
		s.Args = splitArgs(strings.TrimSuffix(inner, ")"))
	}
	if !scalarNames[s.Name] {
		return Scalar{}, Errorf(KindConfig, "type %q is no single value", name)
	}
	return s, nil
}

var scalarNames = map[string]bool{
	"Int8": true, "Int16": true, "Int32": true, "Int64": true, "Int128": true, "Int256": true,
	"UInt8": true, "UInt16": true, "UInt32": true, "UInt64": true, "UInt128": true, "UInt256": true,
	"Float32": true, "Float64": true, "Bool": true, "Decimal": true,
	"Date": true, "Date32": true, "DateTime": true, "DateTime64": true,
	"UUID": true, "String": true, "FixedString": true, "Enum8": true, "Enum16": true, "IPv4": true, "IPv6": true,
}

// splitArgs splits at commas that are not within quotes.
func splitArgs(text string) []string {
	var args []string
	quoted, begin := false, 0
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quoted:
			i++
		case text[i] == '\'':
			quoted = !quoted
		case text[i] == ',' && !quoted:
			args, begin = append(args, strings.TrimSpace(text[begin:i])), i+1
		}
	}
	return append(args, strings.TrimSpace(text[begin:]))
}

// Number is an argument that is a number, such as the scale of a Decimal; missing is the answer when it is not there.
func (s Scalar) Number(index, missing int) int {
	if index >= len(s.Args) {
		return missing
	}
	number, err := strconv.Atoi(s.Args[index])
	if err != nil {
		return missing
	}
	return number
}
