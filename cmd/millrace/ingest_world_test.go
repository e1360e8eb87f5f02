//go:build world

package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/testworld"
)

func TestIngestIsShownMendedAndRetired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.start("ingest", "--setup")
	address := first.logged("capture takes events")["address"].(string)
	first.logged("kafka takes events")
	for i := range 50 {
		if err := send(t.Context(), address, fmt.Sprint("person", i), uuid.NewString()); err != nil {
			t.Fatal(err)
		}
	}
	var status ingestAnswer
	testworld.Eventually(t, patience, func() error {
		status = ingestAnswer{}
		w.doJSON(&status, exitDone, "ingest", "status")
		loaded := int64(0)
		for _, p := range status.Partitions {
			if p.Owner == "" || p.Lag > 0 || p.Watermark == nil {
				return fmt.Errorf("partition %+v", p)
			}
			loaded += p.Next
		}
		if loaded != 50 || status.Watermark.At == nil || len(status.Topics) != 1 {
			return fmt.Errorf("%d events are loaded: %+v", loaded, status)
		}
		return nil
	})
	if out, _ := w.do(exitDone, "ingest", "status"); !strings.Contains(out, "PARTITION") || !strings.Contains(out, status.Topics[0]) {
		t.Errorf("ingest status says\n%s", out)
	}
	if _, message := w.do(exitFailed, "ingest", "repair", "--partition", "0", "--yes"); !strings.Contains(message, "stop all of them first") {
		t.Errorf("repair beside a loader says %s", message)
	}
	first.interrupt()
	first.wait()

	if _, message := w.do(exitFailed, "ingest", "repair", "--partition", "0", "--yes"); !strings.Contains(message, "call again in a while") {
		t.Errorf("repair at once says %s", message)
	}
	database, err := url.Parse(w.events.URL)
	if err != nil {
		t.Fatal(err)
	}
	table := "`" + database.Path[1:] + "`.events"
	eventstoretest.Exec(t, "ALTER TABLE "+table+" DROP CONSTRAINT arrival")
	eventstoretest.Exec(t, "ALTER TABLE "+table+" ADD CONSTRAINT arrival CHECK inserted_at > nowInBlock64(6) - INTERVAL 1 SECOND AND inserted_at < nowInBlock64(6) + INTERVAL 1 MINUTE")
	testworld.Eventually(t, patience, func() error {
		r := w.start("ingest", "repair", "--partition", "0")
		if code := r.wait(); code != exitUsage || !strings.Contains(r.stderr(), "nothing was changed, for there is no terminal to ask at") {
			return fmt.Errorf("repair without a terminal ends with %d: %s", code, r.stderr())
		}
		return nil
	})
	var mended loader.Mending
	w.doJSON(&mended, exitDone, "ingest", "repair", "--partition", "0", "--yes")
	if mended.Offset != status.Partitions[0].Next || mended.Skipped != 0 || mended.Repeated != 0 {
		t.Errorf("mended: %+v, was %+v", mended, status.Partitions[0])
	}
	if _, message := w.do(exitUsage, "ingest", "retire", status.Topics[0]); !strings.Contains(message, "give --yes") {
		t.Errorf("retire without a terminal says %s", message)
	}
	w.do(exitDone, "ingest", "retire", status.Topics[0], "--yes")
	var retired ingestAnswer
	w.doJSON(&retired, exitDone, "ingest", "status")
	if retired.Watermark.At != nil || len(retired.Topics) != 0 {
		t.Errorf("after retiring: %+v", retired)
	}
}

func TestIngestCommandsNameWhatIsMissing(t *testing.T) {
	for arguments, want := range map[string]string{
		"ingest repair": "--partition is missing",
		"ingest repair --partition 1 --offset=-5":     "--offset: -5 must be 0 or more",
		"ingest repair --partition 1 --json":          "--json cannot ask",
		"ingest retire":                               "takes the id of a topic",
		"ingest retire 3vJ8qfQVTvG6Q6GTtqBYoQ --json": "--json cannot ask",
	} {
		if code, _, message := call(t, strings.Fields(arguments)...); code != exitUsage || !strings.Contains(message, want) {
			t.Errorf("%s: exit code %d, %s, want %q", arguments, code, message, want)
		}
	}
}
