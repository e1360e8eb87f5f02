package destinations

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/export"
)

// DecodeBlock reads an export's or a connection's block strictly: fields that are not known are refused. A block left
// out is an empty one. Its errors are of kind config and repeat no value, which may be a secret's.
func DecodeBlock(block json.RawMessage, into any, known ...string) error {
	if len(bytes.TrimSpace(block)) == 0 {
		block = json.RawMessage("{}")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(block, &fields); err != nil {
		// The text may be a secret's, so it is not repeated.
		return export.Errorf(export.KindConfig, "the block is not a JSON object: its fields are %s", strings.Join(known, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, name) {
			return export.Errorf(export.KindConfig, "unknown field %q: the fields are %s", name, strings.Join(known, ", "))
		}
	}
	err := json.Unmarshal(block, into)
	var wrongType *json.UnmarshalTypeError
	var classified *export.Error
	switch {
	case errors.As(err, &classified): // a field that reads its own value, and none of a secret
		return classified
	case errors.As(err, &wrongType):
		return export.Errorf(export.KindConfig, "%s: is a %s, and must be a %s", wrongType.Field, wrongType.Value, wrongType.Type.Kind())
	case err != nil:
		return export.Errorf(export.KindConfig, "the block cannot be read: its fields are %s", strings.Join(known, ", "))
	}
	return nil
}

// EncodeBlock writes a block in canonical form.
func EncodeBlock(block any) (json.RawMessage, error) {
	encoded, err := json.Marshal(block)
	if err != nil {
		return nil, export.Errorf(export.KindInternal, "encode block: %w", err)
	}
	return encoded, nil
}
