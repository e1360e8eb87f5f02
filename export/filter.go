package export

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Filter keeps some of a model's rows. It names one column and has just one rule. Its values are bound to the query as
// parameters of the column's type, and never become part of its text.
type Filter struct {
	// Column is a column of the model; it need not be exported.
	Column string `json:"column"`
	// Include keeps the rows whose value is one of these: JSON strings, numbers or booleans, as ClickHouse writes them in a
	// list; times as strings.
	Include []json.RawMessage `json:"include,omitempty"`
	// Exclude keeps the rows whose value is none of these; so it keeps NULL.
	Exclude []json.RawMessage `json:"exclude,omitempty"`
	// AtLeast keeps the rows whose value is this or greater.
	AtLeast json.RawMessage `json:"at_least,omitempty"`
	// Below keeps the rows whose value is less.
	Below json.RawMessage `json:"below,omitempty"`
}

// plainFilter has the fields of Filter without its methods.
type plainFilter Filter

var filterFields = []string{"column", "include", "exclude", "at_least", "below"}

// maxFilterBytes bounds the values of all filters together: they travel with every query.
const maxFilterBytes = 64 << 10

// UnmarshalJSON reads a filter and refuses fields that nobody knows.
func (f *Filter) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return Errorf(KindConfig, "filters: each must be an object, such as {\"column\": \"event\", \"include\": [\"purchase\"]}")
	}
	var plain plainFilter
	if err := json.Unmarshal(data, &plain); err != nil {
		return Errorf(KindConfig, "filters: %w", err)
	}
	for name := range fields {
		if !slices.Contains(filterFields, name) {
			return Errorf(KindConfig, "filters: unknown field %q: the fields are %s", name, strings.Join(filterFields, ", "))
		}
	}
	*f = Filter(plain)
	return nil
}

// Values are the filter's values, whichever rule it has.
func (f Filter) Values() []json.RawMessage {
	switch {
	case f.AtLeast != nil:
		return []json.RawMessage{f.AtLeast}
	case f.Below != nil:
		return []json.RawMessage{f.Below}
	}
	return append(slices.Clone(f.Include), f.Exclude...)
}

func (f Filter) validate() error {
	rules := 0
	for _, has := range []bool{f.Include != nil, f.Exclude != nil, f.AtLeast != nil, f.Below != nil} {
		if has {
			rules++
		}
	}
	switch {
	case f.Column == "":
		return Errorf(KindConfig, "column is missing: name a column of the model")
	case rules != 1:
		return Errorf(KindConfig, "column %q: give just one of include, exclude, at_least and below; several filters of one column all hold", f.Column)
	case len(f.Values()) == 0:
		return Errorf(KindConfig, "column %q: the list is empty: name at least one value, or leave the filter out", f.Column)
	}
	for _, value := range f.Values() {
		if v := bytes.TrimSpace(value); len(v) == 0 || v[0] == '{' || v[0] == '[' || v[0] == 'n' {
			return Errorf(KindConfig, "column %q: %s is no value: give strings, numbers, true or false", f.Column, value)
		}
	}
	return nil
}

func validateFilters(filters []Filter) error {
	size := 0
	for i, filter := range filters {
		if err := filter.validate(); err != nil {
			return Errorf(KindConfig, "filters: number %d: %w", i+1, err)
		}
		for _, value := range filter.Values() {
			size += len(value)
		}
	}
	if size > maxFilterBytes {
		return Errorf(KindConfig, "filters: their values are %d bytes long together: at most %d travel with each query; filter by a join in a model of your own", size, maxFilterBytes)
	}
	return nil
}
