package config

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// jsonFields lists the names that a struct of our own decodes; nothing for what is no struct.
func jsonFields(of any) []string {
	shape := reflect.TypeOf(of).Elem()
	if shape.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for i := range shape.NumField() {
		name, _, _ := strings.Cut(shape.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// unknownField is the first name, by the alphabet, that raw has and the struct has not. encoding/json knows it too but
// tells it only in prose.
func unknownField(raw json.RawMessage, into any) string {
	var given map[string]json.RawMessage
	if json.Unmarshal(raw, &given) != nil {
		return ""
	}
	known := jsonFields(into)
	if known == nil {
		return ""
	}
	var unknown []string
	for name := range given {
		// encoding/json takes a name in any case, and so do we.
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, name) }) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return ""
	}
	return slices.Min(unknown)
}

// listed is "intro a, b, c", or says that there are none.
func listed(intro string, names []string) string {
	if len(names) == 0 {
		return intro + ": none"
	}
	return intro + " " + strings.Join(names, ", ")
}
