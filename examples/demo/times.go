package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Times is how long the demo took: set-up is what is needed once on a machine, the rest is needed each time.
type Times struct {
	SetUp time.Duration // builds and downloads
	World time.Duration // until Temporal, ClickHouse, Kafka, S3 and Millrace answer
	Job   time.Duration
}

// coldSetUp tells a set-up that had something to build from one that only looked.
const coldSetUp = time.Minute

func (t Times) whole() time.Duration { return t.SetUp + t.World + t.Job }

func (t Times) cold() bool { return t.SetUp >= coldSetUp }

func (t Times) report(out io.Writer) {
	fmt.Fprintf(out, " time      %s: set-up %s, world %s, sending, export and reading back %s\n",
		minutesSeconds(t.whole()), minutesSeconds(t.SetUp), minutesSeconds(t.World), minutesSeconds(t.Job))
	if t.cold() {
		fmt.Fprintf(out, "           a cold start: the next one needs no set-up and takes about %s\n", minutesSeconds(t.World+t.Job))
		return
	}
	fmt.Fprintf(out, "           a warm start: everything had been built")
	if cold, known := recallCold(); known {
		fmt.Fprintf(out, "; the last cold start on this machine took %s", minutesSeconds(cold))
	}
	fmt.Fprintln(out)
}

// coldFile keeps the time of the last cold start, beside the built tools.
func coldFile() (string, error) {
	if cache := os.Getenv("MILLRACE_CACHE"); cache != "" {
		return filepath.Join(cache, "demo.json"), nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "millrace", "demo.json"), nil
}

type coldRecord struct {
	Seconds float64 `json:"cold_seconds"`
}

// keepCold notes the time of a cold start for the reports of later ones. It is a nicety: an error is for the log.
func (t Times) keepCold() error {
	if !t.cold() {
		return nil
	}
	path, err := coldFile()
	if err != nil {
		return err
	}
	content, err := json.Marshal(coldRecord{Seconds: t.whole().Seconds()})
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func recallCold() (time.Duration, bool) {
	path, err := coldFile()
	if err != nil {
		return 0, false
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	var record coldRecord
	if json.Unmarshal(content, &record) != nil || record.Seconds <= 0 {
		return 0, false
	}
	return time.Duration(record.Seconds * float64(time.Second)), true
}
