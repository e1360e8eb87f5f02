// Package recorded keeps, in golden files, what real servers answer when something goes wrong. A test that has the server
// makes each situation come about and holds the answer against the file; tests that have none classify the answers of the
// file. So a table of codes is tried with what servers say, and an upgrade that says something else is noticed.
//
// The files are written anew by `go test -tags world -run Recorded ./the/room/ -record`, in a world; read the diff.
package recorded

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/export"
)

var record = flag.Bool("record", false, "write what servers answer into the golden files anew")

// Answer is what a server answered in one situation.
type Answer struct {
	// Situation says in words how the answer was brought about.
	Situation string `json:"situation"`
	// Code is the server's own: "NoSuchBucket", "28P01", "516".
	Code string `json:"code"`
	// Status is that of HTTP, where the server speaks it.
	Status int `json:"status,omitempty"`
	// Message is the server's own words, with names that change from run to run masked.
	Message string `json:"message,omitempty"`
	// Kind is what the answer was classified as.
	Kind export.Kind `json:"kind"`
}

// Server is one server, and what it answered.
type Server struct {
	// Name has a version where the server tells one: "PostgreSQL 18.1".
	Name    string   `json:"server"`
	Answers []Answer `json:"answers"`
}

// Folder is where a room keeps its files, one for each server.
const Folder = "testdata/answers"

// Hold holds what a server answered against the room's file for it, or writes the file when -record is given.
func Hold(t testing.TB, name string, got Server) {
	t.Helper()
	path := filepath.Join(Folder, name+".json")
	if *record {
		text, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(Folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(read(t, path), got); diff != "" {
		t.Errorf("the server answers otherwise than %s has it; if it is right, write it anew with -record (-want +got):\n%s", path, diff)
	}
}

// Read gives the files of a room, whose folder is said relative to the test's own.
func Read(t testing.TB, room string) []Server {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(room, Folder, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no answers are recorded in %s/%s (%v)", room, Folder, err)
	}
	var servers []Server
	for _, path := range paths {
		servers = append(servers, read(t, path))
	}
	return servers
}

func read(t testing.TB, path string) Server {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var server Server
	if err := json.Unmarshal(text, &server); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return server
}
