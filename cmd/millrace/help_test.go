package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files anew")

// call runs a command line as a shell would, without terminal.
func call(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = execute(context.Background(), args, stdio{in: strings.NewReader(""), out: &stdout, err: &stderr})
	return code, stdout.String(), stderr.String()
}

func TestHelp(t *testing.T) {
	for _, command := range []string{"", "up", "ingest", "ingest status", "ingest repair", "ingest retire", "worker", "codec", "apply", "estimate", "run", "backfill", "pause", "resume", "delete", "status", "runs", "reconcile", "verify", "check", "setup", "version"} {
		t.Run("millrace "+command, func(t *testing.T) {
			code, out, stderr := call(t, append(strings.Fields(command), "--help")...)
			if code != exitDone || stderr != "" {
				t.Fatalf("exit code %d, %s", code, stderr)
			}
			for line := range strings.Lines(out) {
				if length := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); length > 100 {
					t.Errorf("%d columns: %s", length, line)
				}
			}
			golden := filepath.Join("testdata", "help", strings.TrimSpace("millrace "+command)+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out); diff != "" {
				t.Errorf("the help has changed; look at it, then write it by `go test ./cmd/millrace -update` (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCallWithoutArgumentsHelps(t *testing.T) {
	code, out, _ := call(t)
	if code != exitDone || !strings.Contains(out, "Usage:\n  millrace COMMAND") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}
