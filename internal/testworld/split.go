package testworld

import "strings"

// SplitAtCommas splits a list of SQL expressions at the commas outside of quotes and brackets.
func SplitAtCommas(list string) []string {
	var all []string
	depth, quoted, begin := 0, false, 0
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && quoted:
			i++
		case c == '\'':
			quoted = !quoted
		case quoted:
		case strings.IndexByte("([", c) >= 0:
			depth++
		case strings.IndexByte(")]", c) >= 0:
			depth--
		case c == ',' && depth == 0:
			all, begin = append(all, list[begin:i]), i+1
		}
	}
	return append(all, list[begin:])
}
