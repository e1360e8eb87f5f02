package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/millrace/millrace/export"
)

// source is a file's content as JSON, and what it takes to say where in the file something stands.
type source struct {
	path string
	json json.RawMessage
	tree *ast.File
}

// newSource reads YAML, of which JSON is a part. All further reading is of JSON, so that a definition has the same
// shape in the file, in a workflow's input and on the command line.
func newSource(path string, data []byte) (source, error) {
	s := source{path: path}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return s, s.syntaxError(err)
	}
	s.tree = tree
	if len(tree.Docs) > 1 {
		return s, export.Errorf(export.KindConfig, "%s: holds %d YAML documents, but one is read: remove the lines \"---\"", path, len(tree.Docs))
	}
	var content any
	if err := yaml.Unmarshal(data, &content); err != nil {
		return s, s.syntaxError(err)
	}
	if content == nil {
		return s, export.Errorf(export.KindConfig, "%s: is empty: it needs teams, connections or exports; examples/millrace.yaml is one to copy", path)
	}
	if _, isMapping := content.(map[string]any); !isMapping {
		return s, export.Errorf(export.KindConfig, "%s: must hold the sections teams, connections and exports; examples/millrace.yaml is one to copy", path)
	}
	if s.json, err = json.Marshal(content); err != nil {
		return s, export.Errorf(export.KindConfig, "%s: has a value that JSON does not know: %w", path, err)
	}
	return s, nil
}

// syntaxError says where YAML could not be read. The library's longer message would show the lines around, and with
// them what somebody wrote in place of a reference.
func (s source) syntaxError(err error) error {
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil {
		return export.Errorf(export.KindConfig, "%s:%d: %s", s.path, located.GetToken().Position.Line, located.GetMessage())
	}
	return export.Errorf(export.KindConfig, "%s: is not YAML", s.path)
}

// errorf makes an error about the field, naming file, line and path.
func (s source) errorf(at field, format string, args ...any) error {
	place := s.path
	if line := s.line(at); line > 0 {
		place += ":" + strconv.Itoa(line)
	}
	if at != "" {
		place += ": " + at.String()
	}
	return export.Errorf(export.KindConfig, "%s: %w", place, fmt.Errorf(format, args...))
}

// line is where the field stands, or its nearest parent that is there; 0 when even that is not known.
func (s source) line(at field) int {
	for ; at != ""; at = at.parent() {
		path, err := yaml.PathString(at.yamlPath())
		if err != nil {
			continue
		}
		node, err := path.FilterFile(s.tree)
		if err != nil || node == nil || node.GetToken() == nil {
			continue
		}
		// The token of a mapping is the colon behind its first key, that of a value the value: all are on the line
		// meant, but for a value that begins below its key.
		return node.GetToken().Position.Line
	}
	return 0
}

// decode reads JSON into a struct and refuses fields that it does not have.
func (s source) decode(raw json.RawMessage, into any, at field) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &wrongType):
		if wrongType.Field != "" {
			at = at.key(wrongType.Field)
		}
		return s.errorf(at, "a %s cannot stand here, it must be %s", wrongType.Value, plainType(wrongType))
	}
	if unknown := unknownField(raw, into); unknown != "" {
		return s.errorf(at.key(unknown), "unknown field %q: %s", unknown, listed("the fields here are", jsonFields(into)))
	}
	return s.errorf(at, "%w", err)
}

func plainType(err *json.UnmarshalTypeError) string {
	switch err.Type.Kind().String() {
	case "int64":
		return "a whole number"
	case "string":
		return "a string"
	case "slice":
		return "a list"
	}
	return "a block of fields"
}

// field is the path of a field in a file: connections[0].s3.secret_access_key. The empty field is the whole file.
type field string

func (f field) key(name string) field {
	if !plainKey.MatchString(name) {
		name = "'" + name + "'"
	}
	if f == "" {
		return field(name)
	}
	return f + "." + field(name)
}

func (f field) index(i int) field { return f + field("["+strconv.Itoa(i)+"]") }

// parent is the path without its last key or index.
func (f field) parent() field {
	if i := strings.LastIndexAny(string(f), ".["); i >= 0 {
		return f[:i]
	}
	return ""
}

// String is the path as people read it.
func (f field) String() string { return string(f) }

func (f field) yamlPath() string { return "$." + string(f) }

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
