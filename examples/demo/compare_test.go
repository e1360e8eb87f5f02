package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// listReader hands over a list of rows, with totals of its own.
type listReader struct {
	rows   []Row
	totals Totals
	err    error
}

func (listReader) Name() string { return "a list" }

func (r listReader) Read(_ context.Context, each func(Row) error) (Totals, error) {
	for _, row := range r.rows {
		if err := each(row); err != nil {
			return Totals{}, err
		}
	}
	return r.totals, r.err
}

func TestCompareSeesEveryDifference(t *testing.T) {
	rows, totals, err := wanted(captures(someFlights(10), strangeCaptures()))
	if err != nil {
		t.Fatal(err)
	}
	changed := func(do func([]Row) []Row) []Row { return do(append([]Row(nil), rows...)) }
	for _, c := range []struct {
		name   string
		reader listReader
		ok     bool
		want   Comparison
	}{
		{"the same, in another order", listReader{rows: changed(func(r []Row) []Row { return append(r[5:], r[:5]...) }), totals: totals}, true, Comparison{IDs: 16, Strange: 6}},
		{"one missing", listReader{rows: rows[1:], totals: totals}, false, Comparison{IDs: 15, Strange: 6, Missing: 1}},
		{"one twice", listReader{rows: append(rows[:16:16], rows[3]), totals: totals}, false, Comparison{IDs: 16, Strange: 6, Doubled: 1}},
		{"one never sent", listReader{rows: append(rows[:16:16], Row{UUID: "x"}), totals: totals}, false, Comparison{IDs: 16, Strange: 6, Unknown: 1}},
		{"a digit of a property", listReader{rows: changed(func(r []Row) []Row {
			r[0].Properties = strings.Replace(r[0].Properties, "100", "101", 1)
			return r
		}), totals: totals}, false, Comparison{IDs: 16, Strange: 6, Changed: 1}},
		{"a microsecond", listReader{rows: changed(func(r []Row) []Row { r[0].Micros++; return r }), totals: totals}, false, Comparison{IDs: 16, Strange: 6, Changed: 1}},
		{"a sum", listReader{rows: rows, totals: Totals{totals.Rows, totals.Delay + 1, totals.Distance}}, false, Comparison{IDs: 16, Strange: 6}},
	} {
		got, err := compare(context.Background(), c.reader, rows, totals)
		if err != nil {
			t.Fatal(err)
		}
		if got.OK() != c.ok || got.IDs != c.want.IDs || got.Strange != c.want.Strange || got.Missing != c.want.Missing ||
			got.Doubled != c.want.Doubled || got.Unknown != c.want.Unknown || got.Changed != c.want.Changed {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	broken := errors.New("the file broke off")
	if _, err := compare(context.Background(), listReader{err: broken}, rows, totals); !errors.Is(err, broken) {
		t.Errorf("a reader's error is lost: %v", err)
	}
}

func TestRowsAreDecodedToTheByte(t *testing.T) {
	var got []Row
	text := `["id","name \u2708","a\tb","-1","{\"a\":1e400,\"b\":\"\\u0000\"}"]` + "\n\n"
	if err := decodeRows(strings.NewReader(text), func(row Row) error { got = append(got, row); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := (Row{"id", "name ✈", "a\tb", -1, `{"a":1e400,"b":"\u0000"}`}); len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{`["a"]`, `["a","b","c","soon","e"]`, `["a","b",`} {
		if err := decodeRows(strings.NewReader(bad), func(Row) error { return nil }); err == nil {
			t.Errorf("%s is taken for a row", bad)
		}
	}
}

func TestFilesAndManifestsMustAgree(t *testing.T) {
	end := time.Date(2026, 11, 23, 18, 0, 0, 0, time.UTC)
	name := intervalKey(end)
	if name != "20261123T175900Z--20261123T180000Z" {
		t.Fatalf("the interval is named %s", name)
	}
	manifest := Manifest{Key: "demo/_millrace/flights/" + name + "/r0001/manifest.json"}
	manifest.Receipts = append(manifest.Receipts, struct {
		Location string `json:"location"`
		Rows     int64  `json:"rows"`
		Bytes    int64  `json:"bytes"`
	}{"flights/" + name + "/r0001-00000.parquet", 5, 100})
	file := File{Key: "demo/flights/" + name + "/r0001-00000.parquet", Bytes: 100}
	if err := checkFiles([]File{file}, []Manifest{manifest}); err != nil {
		t.Errorf("what agrees is refused: %v", err)
	}
	short, stray := file, File{Key: "demo/flights/" + name + "/r0001-00001.parquet"}
	short.Bytes = 99
	for what, files := range map[string][]File{"has 99": {short}, "not in the bucket": nil, "no manifest names": {file, stray}} {
		if err := checkFiles(files, []Manifest{manifest}); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v: %v", files, err)
		}
	}
	missing := missingMinutes([]time.Time{end, end.Add(time.Minute)}, []string{manifest.Key})
	if len(missing) != 1 || !missing[0].Equal(end.Add(time.Minute)) {
		t.Errorf("missing are %s", clocks(missing))
	}
}
