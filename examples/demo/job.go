package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/posthog/posthog-go"
)

const (
	flightsFile   = "examples/demo/node_modules/vega-datasets/data/flights-3m.parquet"
	flightsSent   = 200_000
	readerScript  = "examples/demo/hyparquet.mjs"
	loadWithin    = 2 * time.Minute // from the last answer of capture to the last row in ClickHouse
	publishWithin = 3 * time.Minute // from the end of the last minute to the last manifest
)

// Job is the demo itself, in a world that is up: send, export, read back, compare.
type Job struct {
	world    World
	lake     *Lake
	product  *Product
	progress *Progress

	events []posthog.Capture
	rows   []Row
	totals Totals
}

// prepare makes the events and what must come back of them.
func (j *Job) prepare() error {
	flights, err := readFlights(flightsFile, flightsSent)
	if err != nil {
		return err
	}
	j.events = captures(flights, strangeCaptures())
	j.rows, j.totals, err = wanted(j.events)
	return err
}

// run does the whole job once millrace is ready to take events.
func (j *Job) run(ctx context.Context) (*Result, error) {
	pace := paceFrom(time.Now())
	result := &Result{Sent: j.totals, Strange: len(strangeCaptures()), World: j.world, Pace: pace}
	j.progress.Say("sending %s events through posthog-go to %s, from %s until the full minute %s UTC",
		commas(len(j.events)), j.product.Endpoint, clock(pace.Start), clock(pace.Full))

	// The sending goes on while the export is applied in the midst of it.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type ending struct {
		delivery *Delivery
		err      error
	}
	sent := make(chan ending, 1)
	go func() {
		delivery, err := send(ctx, j.product.Endpoint, projectToken, j.events, pace, func(enqueued, confirmed int) {
			j.progress.Say("  %9s sent, %9s confirmed", commas(enqueued), commas(confirmed))
		})
		if err != nil {
			cancel(err)
		}
		sent <- ending{delivery, err}
	}()

	applied, applyErr := j.apply(ctx, pace)
	end := <-sent
	switch {
	case end.err != nil:
		return nil, fmt.Errorf("send the events: %w", end.err)
	case applyErr != nil:
		return nil, applyErr
	}
	result.Delivery, result.Applied = end.delivery, applied
	j.progress.Say("all %s events are confirmed", commas(end.delivery.Confirmed()))
	if err := j.awaitRows(ctx, result); err != nil {
		return nil, err
	}
	if err := j.awaitManifests(ctx, result); err != nil {
		return nil, err
	}
	return result, j.readBack(ctx, result)
}

// apply makes the export while events are coming in already, and has Temporal fill the minutes from before.
func (j *Job) apply(ctx context.Context, pace Pace) (applied time.Time, err error) {
	select {
	case <-ctx.Done():
		return applied, context.Cause(ctx)
	case <-time.After(time.Until(pace.Apply())): // the export is to come late, as it does in life
	}
	arguments := []string{"apply", "--yes", "-f", configFile}
	j.progress.Say("applying the export: %s", commandLine("millrace", arguments))
	if _, err := run(ctx, millraceProgram, arguments...); err != nil {
		return applied, err
	}
	applied = time.Now()
	// Nominal times are the ends of minutes: from the first minute with events to the last that ended before now.
	arguments = []string{
		"schedule", "backfill", "--schedule-id", exportName, "--overlap-policy", "AllowAll",
		"--start-time", pace.Start.UTC().Truncate(time.Minute).Add(time.Minute - time.Second).Format(time.RFC3339),
		"--end-time", applied.UTC().Truncate(time.Minute).Add(time.Second).Format(time.RFC3339),
	}
	j.progress.Say("filling what was before it: %s", commandLine("temporal", arguments))
	_, err = run(ctx, "temporal", arguments...)
	return applied, err
}

// awaitRows waits until every event that was confirmed is a row.
func (j *Job) awaitRows(ctx context.Context, result *Result) error {
	err := await(ctx, "the rows in ClickHouse", loadWithin, func(ctx context.Context) (string, error) {
		var err error
		if result.Loaded, err = j.world.loaded(ctx); err != nil {
			return "", err
		}
		if missing := j.totals.Rows - result.Loaded.Rows; missing > 0 {
			return commas(missing) + " rows are missing", nil
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	result.Minutes = minutes(result.Loaded.first(), result.Loaded.last())
	j.progress.Say("%s rows are in ClickHouse; they arrived in the minutes %s UTC", commas(result.Loaded.Rows), clocks(result.Minutes))
	return nil
}

// awaitManifests waits until every minute with rows is published.
func (j *Job) awaitManifests(ctx context.Context, result *Result) error {
	last := result.Minutes[len(result.Minutes)-1]
	deadline := max(0, time.Until(last)) + publishWithin
	published := 0
	err := await(ctx, "the manifests", deadline, func(ctx context.Context) (string, error) {
		files, keys, err := j.lake.List(ctx)
		if err != nil {
			return "", err
		}
		missing := missingMinutes(result.Minutes, keys)
		if now := len(result.Minutes) - len(missing); now > published {
			published = now
			j.progress.Say("%d of %s published", published, plural(len(result.Minutes), "minute"))
		}
		if len(missing) > 0 {
			return fmt.Sprintf("no manifest of %s; see %s", clocks(missing), j.world.scheduleURL(exportName)), nil
		}
		result.Files = files
		result.Manifests = nil
		for _, key := range keys {
			manifest, err := j.lake.Manifest(ctx, key)
			if err != nil {
				return "", err
			}
			result.Manifests = append(result.Manifests, manifest)
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	// A minute without events that the schedule ran meanwhile has a manifest and no files; it changes nothing.
	return checkFiles(result.Files, result.Manifests)
}

// readBack reads all files in two ways and compares.
func (j *Job) readBack(ctx context.Context, result *Result) error {
	var bytes int64
	for _, file := range result.Files {
		bytes += file.Bytes
	}
	j.progress.Say("reading back %s, %s, twice", plural(len(result.Files), "file"), size(bytes))
	script, err := filepath.Abs(readerScript)
	if err != nil {
		return err
	}
	for _, reader := range []Reader{
		clickhouseReader{world: j.world, glob: exportPrefix + "/" + exportName + "/*/*.parquet"},
		hyparquetReader{lake: j.lake, files: result.Files, script: script},
	} {
		comparison, err := compare(ctx, reader, j.rows, j.totals)
		if err != nil {
			return err
		}
		result.Comparisons = append(result.Comparisons, comparison)
	}
	return nil
}
