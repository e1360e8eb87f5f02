//go:build world

package promises

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
)

// What happens to files after they were published is found by whoever asks, with the interval and the chunk.
func TestVerifyNamesIntervalAndChunkOfWhatHasChangedSince(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	const hours = 6
	var blocks []eventstore.Block
	for n := range hours {
		for i := range 3 {
			made, _ := block(hour(n).Start.Add(time.Duration(i)*time.Minute), int64(i+1), 900, `{"n": 1}`)
			blocks = append(blocks, made)
		}
	}
	eventstoretest.LoadPast(tt, t.events, blocks...)
	t.work()
	definition := inEncoding("verified", encodings[0], export.ProofReadback)
	for n := range hours - 1 {
		t.run(definition, hour(n))
	}
	span := export.Interval{Start: hour(0).Start, End: hour(hours - 1).End}
	results := func(want ...string) []export.Verification {
		t.Helper()
		report, err := t.starter.Verify(t.Context(), definition, span)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, interval := range report.Intervals {
			got = append(got, interval.Result)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("the results are %v, want %v: %+v", got, want, report.Intervals)
		}
		return report.Intervals
	}
	whole := export.VerifiedWhole
	intervals := results(whole, whole, whole, whole, whole, export.VerifiedMissing)
	if first := intervals[0]; first.Rows != 2700 || first.Files != 3 || first.Content == nil || *first.Content != t.sourceContent() {
		t.Errorf("the first interval is %+v", first)
	}

	file := func(n, chunk int) string {
		return fmt.Sprintf("events/verified/%s/r0001-%05d.parquet", hour(n).Key(), chunk)
	}
	t.put(file(1, 2), flipped(t.read(file(1, 2))), nil)
	if _, err := t.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &t.bucket, Key: ptr(file(2, 0))}); err != nil {
		t.Fatal(err)
	}
	// A stranger who knows the format makes the file, its tag and its receipt agree, and cannot make the rows agree.
	t.forge(definition, 3, 1, false)
	// One who makes these agree as well cannot make the ledger agree.
	t.forge(definition, 4, 1, true)
	differs := export.VerifiedDiffers
	intervals = results(whole, differs, differs, differs, differs, export.VerifiedMissing)
	if differences := intervals[4].Differences; len(differences) != 1 || differences[0].Chunk != -1 || !strings.Contains(differences[0].What, "the ledger") {
		t.Errorf("of the well forged hour the differences are %+v", differences)
	}
	for n, chunk := range map[int]int{1: 2, 2: 0, 3: 1} {
		differences := intervals[n].Differences
		if len(differences) != 1 || differences[0].Chunk != chunk || !strings.HasSuffix(file(n, chunk), differences[0].Location) || differences[0].What == "" {
			t.Errorf("of hour %d, chunk %d the differences are %+v", n, chunk, differences)
		}
	}
	t.Log(intervals[1].Differences[0].What)
	t.Log(intervals[2].Differences[0].What)
	t.Log(intervals[3].Differences[0].What)
}

func ptr(text string) *string { return &text }

// forge puts a file of other rows into the place of a chunk, and makes the manifest say its size, tag and checksum; when it
// does it well, its rows and their hash, too.
func (t *thread) forge(definition export.Definition, n, chunk int, well bool) {
	t.Helper()
	key := strings.Replace(t.markKey(definition.Name, 1), hour(0).Key(), hour(n).Key(), 1)
	manifest := t.manifest(key)
	receipt := &manifest.Receipts[chunk]
	place := "events/" + receipt.Location
	rows := fmt.Sprintf("SELECT %s FROM events WHERE team_id = %d AND toStartOfHour(inserted_at) = toDateTime(%d) AND distinct_id != '7'", eventstore.SelectEvents(), chunk+1, hour(n).Start.Unix())
	content := t.encode(rows)
	t.put(place, content, nil)
	head, err := t.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &t.bucket, Key: &place, ChecksumMode: "ENABLED"})
	if err != nil {
		t.Fatal(err)
	}
	receipt.ETag, receipt.Bytes, receipt.Checksum = strings.Trim(*head.ETag, `"`), uint64(len(content)), "crc64nvme:"+*head.ChecksumCRC64NVME
	if well {
		var other export.Content
		if _, err := fmt.Sscan(string(t.query("SELECT count(), sum("+eventstore.EventsHash()+") FROM ("+rows+")")), &other.Rows, &other.Hash); err != nil {
			t.Fatal(err)
		}
		before, err := receipt.Content()
		if err != nil {
			t.Fatal(err)
		}
		receipt.Rows, receipt.Hash = other.Rows, other.HashText()
		sum := export.Content{Rows: manifest.Proof.Source.Rows - before.Rows, Hash: manifest.Proof.Source.Hash - before.Hash}.Plus(other)
		manifest.Rows, manifest.Proof.Source = sum.Rows, &sum
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	t.put(key, text, nil)
}

// Of each run the ledger has both sides, how it was proved, and where its time went.
func TestTheLedgerKeepsBothSidesOfTheProof(tt *testing.T) {
	tt.Parallel()
	t := newThread(tt)
	t.loadThreeTeams()
	t.work()
	t.published(inEncoding("kept", encodings[0], export.ProofReadback))
	rows, err := t.events.Runs(t.Context(), eventstore.RunFilter{Export: "kept"})
	if err != nil || len(rows) != 1 {
		t.Fatalf("the ledger has %+v, %v", rows, err)
	}
	row, want := rows[0], t.sourceContent()
	if row.Proof != export.ProofReadback || row.Source == nil || *row.Source != want || row.Stored == nil || *row.Stored != want {
		t.Errorf("it has %s, %s and %s; the source has %s", row.Proof, row.Source, row.Stored, want)
	}
	if row.Closing.Rule != export.RuleWatermark || row.Attempts != 3 || row.Files != 3 {
		t.Errorf("it has %+v", row)
	}
	for _, step := range []string{"finding", "waiting", "planning", "preparing", "writing", "proving"} {
		if _, found := row.Durations[step]; !found {
			t.Errorf("it does not say how long %q took: %v", step, row.Durations)
		}
	}
}
