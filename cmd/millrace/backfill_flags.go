package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/workflows"
)

// backfillFlags are the flags of backfill.
type backfillFlags struct {
	start, end    string
	step          string
	newestFirst   bool
	parallel      int
	stopAtFailure bool
	detach        bool
	dry           bool
	again         redoFlags

	follow, pause, resume, cancel bool
	setParallel                   int
	note                          string
}

// check refuses flags that mean nothing together, or at all.
func (f backfillFlags) check(command *cobra.Command) error {
	var leads, starts []string
	for _, name := range []string{"follow", "pause", "resume", "set-parallel", "cancel"} {
		if command.Flags().Changed(name) {
			leads = append(leads, "--"+name)
		}
	}
	for _, name := range []string{"start", "end", "step", "newest-first", "parallel", "stop-at-failure", "redo", "redo-before", "reason", "detach", "dry-run"} {
		if command.Flags().Changed(name) {
			starts = append(starts, "--"+name)
		}
	}
	switch noted := command.Flags().Changed("note"); {
	case len(leads) > 1:
		return usagef("%s: give one of them at a time", strings.Join(leads, " and "))
	case len(leads) == 1 && len(starts) > 0:
		return usagef("%s is for a backfill that is under way, and %s for one that is to be started: give the one or the other", leads[0], starts[0])
	case slices.Contains(starts, "--dry-run") && slices.Contains(starts, "--detach"):
		return usagef("--dry-run starts nothing, so there is nothing for --detach to leave alone: give one of them")
	case noted && !slices.Contains(leads, "--pause") && !slices.Contains(leads, "--cancel"):
		return usagef("--note: it is a note on --pause or --cancel, and neither is given")
	case slices.Contains(starts, "--parallel") && f.parallel < 1:
		return usagef("--parallel: %d must be from 1 to %d; leave it out for %d", f.parallel, export.MaxParallel, export.DefaultParallel)
	case slices.Contains(starts, "--redo-before") && slices.Contains(starts, "--dry-run"):
		return usagef("%s", noForetold)
	case f.again.asked() && f.start == "" && !f.dry:
		return usagef("--redo exports all of its range again, and without --start that is the whole history: give --start, be it that of the whole history")
	}
	return nil
}

// wish is what is wanted of a backfill that is under way; the update is empty when a flag asks for something else.
func (f backfillFlags) wish(command *cobra.Command) (update string, wish workflows.Wish) {
	wish.Note = f.note
	switch {
	case f.pause:
		return workflows.UpdatePause, wish
	case f.resume:
		return workflows.UpdateResume, wish
	case f.cancel:
		return workflows.UpdateCancel, wish
	case command.Flags().Changed("set-parallel"):
		wish.Parallel = f.setParallel
		return workflows.UpdateSetParallelism, wish
	}
	return "", wish
}
