package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace/millrace/export"
)

// redoFlags are the flags by which run and backfill export again what is published.
type redoFlags struct {
	again  bool
	before string
	reason string
}

func (f *redoFlags) add(set *pflag.FlagSet) {
	set.BoolVar(&f.again, "redo", false, "export again, as the next revision, what is published now")
	set.StringVar(&f.before, "redo-before", "", "export again what was published before this RFC 3339 `time`")
	set.StringVar(&f.reason, "reason", "", "why it is exported again: kept in the plan, the manifest and the ledger")
}

// asked tells whether anything is exported again.
func (f *redoFlags) asked() bool { return f.again || f.before != "" }

// noForetold refuses an estimate of what was published before a time.
const noForetold = "--dry-run estimates a range as if nothing of it were published, and so cannot tell what --redo-before leaves alone: give --redo"

// redo is what is asked for, as of now; nil when what is published is left alone.
func (f *redoFlags) redo(command *cobra.Command, now time.Time) (*export.Redo, error) {
	before := now.UTC().Truncate(time.Millisecond)
	switch given := f.before != ""; {
	case !f.again && !given && f.reason != "":
		return nil, usagef("--reason says why a range is exported again: give --redo with it")
	case f.again && given:
		return nil, usagef("--redo is --redo-before with the present moment: give one of them")
	case !f.again && !given:
		return nil, nil
	case given:
		parsed, err := time.Parse(time.RFC3339, f.before)
		if err != nil {
			return nil, usagef("--redo-before: %q is not an RFC 3339 time, such as 2026-11-23T10:00:00Z", f.before)
		}
		before = parsed
	}
	reason := f.reason
	if reason == "" {
		reason = fmt.Sprintf("asked for by millrace %s --redo", command.Name())
	}
	return export.NewRedo(&before, reason)
}
