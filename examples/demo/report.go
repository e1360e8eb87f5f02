package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"
)

// columns is the width of the report.
const columns = 100

// Result is what the job found.
type Result struct {
	World       World
	Pace        Pace
	Sent        Totals
	Strange     int
	Delivery    *Delivery
	Applied     time.Time // when the export came to be
	Loaded      Loaded
	Minutes     []time.Time // with events, by their ends
	Files       []File
	Manifests   []Manifest
	Comparisons []Comparison
}

// OK says whether exactly what was sent is in ClickHouse and in the files, by every reader and by the manifests.
func (r *Result) OK() bool {
	ok := r.Loaded.Rows == r.Sent.Rows && r.exported() == r.Sent.Rows && len(r.Comparisons) > 0
	for _, comparison := range r.Comparisons {
		ok = ok && comparison.OK()
	}
	return ok
}

// exported is the number of rows by the manifests.
func (r *Result) exported() (rows int64) {
	for _, manifest := range r.Manifests {
		rows += manifest.Rows
	}
	return rows
}

// withRows are the manifests of runs that exported something.
func (r *Result) withRows() []Manifest {
	var found []Manifest
	for _, manifest := range r.Manifests {
		if manifest.Rows > 0 {
			found = append(found, manifest)
		}
	}
	return found
}

// startedBy says what started the run of a manifest: the schedule, unless its minute ended before there was one.
func (r *Result) startedBy(manifest Manifest) string {
	if manifest.Run.End.After(r.Applied) {
		return "the schedule"
	}
	return "its backfill"
}

// report writes the result for people. Pages and stores are named while they are up: up says whether they are after it.
func report(out io.Writer, r *Result, times Times, up bool) {
	line := strings.Repeat("─", columns)
	verdict := "everything came back as it was sent"
	if !r.OK() {
		verdict = "DIFFERS"
	}
	title := fmt.Sprintf(" Millrace: %s events in over HTTP, out as Parquet in S3", commas(r.Sent.Rows))
	fmt.Fprintf(out, "\n%s\n%s%*s\n%s\n", line, title, columns-len([]rune(title)), verdict+" ", line)
	var bytes int64
	for _, file := range r.Files {
		bytes += file.Bytes
	}
	fmt.Fprintf(out, " sent      %9s events by posthog-go %s in %s, up to %s UTC: all confirmed\n",
		commas(r.Sent.Rows), moduleVersion("github.com/posthog/posthog-go"), minutesSeconds(r.Delivery.took), clock(r.Pace.Full))
	fmt.Fprintf(out, " loaded    %9s rows in ClickHouse, which arrived from %s to %s\n", commas(r.Loaded.Rows), clock(r.Loaded.first()), clock(r.Loaded.last()))
	fmt.Fprintf(out, " exported  %9s rows in %s, %s, %s; export applied at %s\n\n",
		commas(r.exported()), plural(len(r.withRows()), "run"), plural(len(r.Files), "file"), size(bytes), clock(r.Applied))
	reportRuns(out, r)
	reportComparisons(out, r)
	reportAddresses(out, r, up)
	times.report(out)
	fmt.Fprintln(out, line)
}

func reportRuns(out io.Writer, r *Result) {
	fmt.Fprintf(out, " %-13s  %-13s %9s  %10s  %s\n", "minute, UTC", "started by", "rows", "bytes", "workflow")
	for _, manifest := range r.withRows() {
		var bytes int64
		for _, receipt := range manifest.Receipts {
			bytes += receipt.Bytes
		}
		fmt.Fprintf(out, " %-13s  %-13s %9s  %10s  %s\n", clocks([]time.Time{manifest.Run.End}), r.startedBy(manifest), commas(manifest.Rows), size(bytes), manifest.By.WorkflowID)
	}
	fmt.Fprintln(out)
}

func reportComparisons(out io.Writer, r *Result) {
	row := func(name, rows, ids, delay, distance, strange, result, took string) {
		fmt.Fprintf(out, " %-15s %9s %9s %13s %16s  %-8s %-9s %6s\n", name, rows, ids, delay, distance, strange, result, took)
	}
	row("read back by", "rows", "ids", "sum of delay", "sum of distance", "strange", "", "took")
	row("(what was sent)", commas(r.Sent.Rows), commas(r.Sent.Rows), commas(r.Sent.Delay), commas(r.Sent.Distance), commas(r.Strange), "", "")
	for _, c := range r.Comparisons {
		result := "ok"
		if !c.OK() {
			result = "DIFFERS"
		}
		row(c.Reader, commas(c.Totals.Rows), commas(c.IDs), commas(c.Totals.Delay), commas(c.Totals.Distance),
			fmt.Sprintf("%d of %d", c.Strange, r.Strange), result, fmt.Sprintf("%.1f s", c.Took.Seconds()))
	}
	fmt.Fprintln(out, " Both compared name, distinct id, time and properties of every row with what was sent, to the byte.")
	for _, c := range r.Comparisons {
		if c.OK() {
			continue
		}
		fmt.Fprintf(out, "\n %s: %s missing, %s doubled, %s unknown, %s changed\n", c.Reader, commas(c.Missing), commas(c.Doubled), commas(c.Unknown), commas(c.Changed))
		for _, example := range c.Examples {
			fmt.Fprintf(out, "  %s\n", example)
		}
	}
	fmt.Fprintln(out)
}

func reportAddresses(out io.Writer, r *Result, up bool) {
	if up {
		fmt.Fprintf(out, " schedule  %s\n", r.World.scheduleURL(exportName))
		for _, manifest := range r.withRows() {
			fmt.Fprintf(out, " run       %s\n", r.World.workflowURL(manifest.By.WorkflowID))
		}
		fmt.Fprintf(out, " bucket    %s, bucket %s, keys\n", r.World.S3Endpoint, r.World.Bucket)
	} else {
		fmt.Fprintf(out, " pages     everything goes down now; `make demo STAY=1` keeps schedule, runs and files up\n")
		fmt.Fprintf(out, " bucket    %s had the keys\n", r.World.Bucket)
	}
	for _, manifest := range r.withRows() {
		for _, receipt := range manifest.Receipts {
			fmt.Fprintf(out, "           %s/%s\n", exportPrefix, receipt.Location)
		}
		fmt.Fprintf(out, "           %s\n", manifest.Key)
	}
	fmt.Fprintln(out)
}

// moduleVersion is the version of a module that this program was built with, without its v.
func moduleVersion(path string) string {
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == path {
				return strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return "of an unknown version"
}
