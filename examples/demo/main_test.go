package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheLogIsKeptOnlyWhereSomethingFailed(t *testing.T) {
	failure := errors.New("what came back is not what was sent")
	for name, test := range map[string]struct {
		err     error
		stopped bool
		kept    bool
	}{
		"done":    {nil, false, false},
		"stopped": {context.Canceled, true, false},
		"failed":  {failure, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "millrace-demo-1")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			err := leave(dir, test.err, test.stopped)
			if !errors.Is(err, test.err) {
				t.Errorf("got %v", err)
			}
			if _, missing := os.Stat(dir); (missing == nil) != test.kept {
				t.Errorf("the folder is kept: %t", missing == nil)
			}
			if test.kept && !strings.Contains(err.Error(), "kept in "+dir) {
				t.Errorf("%v does not say where the log is", err)
			}
		})
	}
}
