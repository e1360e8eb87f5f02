package export

import (
	"bytes"
	"encoding/json"
)

// readInput reads the JSON that a workflow is given, in which people may have slipped: a field that nobody knows is refused. The
// error says what the input is of, and shows an example.
func readInput[T any](data []byte, of, example string) (input T, err error) {
	if len(data) == 0 {
		return input, Errorf(KindConfig, "the workflow has no input: give the JSON of %s, such as %s", of, example)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&input); err != nil {
		if KindOf(err) == KindConfig {
			return input, err // of a definition, which says itself what is wrong
		}
		return input, Errorf(KindConfig, "the workflow's input is not the JSON of %s, such as %s: %w", of, example, err)
	}
	return input, nil
}
