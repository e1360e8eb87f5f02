package export_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/export"
)

func TestAForecastIsLearnedFromRunsOfASize(t *testing.T) {
	// Runs of ten rows take a second, and those of a million 50 to 100 s, the latest 50 to 82.
	var past []export.Pace
	for range 50 {
		past = append(past, export.Pace{Rows: 10, Took: time.Second})
	}
	for i := range 30 {
		past = append(past, export.Pace{Rows: 1_000_000, Took: time.Duration(50+50*i/29) * time.Second})
	}
	past = append(past, export.Pace{Rows: 0, Took: 2 * time.Second}, export.Pace{Rows: 7, Took: 0})
	one := export.Pace{Rows: 1000, Took: 10 * time.Second}
	for name, test := range map[string]struct {
		past []export.Pace
		runs []uint64
		want *export.Forecast
	}{
		"nothing is known":    {past[80:], []uint64{1000}, nil},
		"no run":              {past, nil, nil},
		"large":               {past, []uint64{2_000_000}, &export.Forecast{From: seconds(106), To: seconds(158), Of: export.OfExport, Runs: 20, Rows: 1_000_000}},
		"small":               {past, []uint64{5, 10, 0}, &export.Forecast{From: seconds(4), To: seconds(4), Of: export.OfExport, Runs: 20, Rows: 10}},
		"large and small":     {past, []uint64{2_000_000, 0, 0}, &export.Forecast{From: seconds(110), To: seconds(162), Of: export.OfExport, Runs: 20, Rows: 1_000_000}},
		"all empty":           {past[80:], []uint64{0, 0, 0}, &export.Forecast{From: seconds(6), To: seconds(6), Of: export.OfExport, Runs: 1}},
		"none was empty":      {past[:50], []uint64{0, 0, 0}, &export.Forecast{From: seconds(3), To: seconds(3), Of: export.OfExport, Runs: 20, Rows: 10}},
		"one run tells a bit": {[]export.Pace{one}, []uint64{3000}, &export.Forecast{From: seconds(20), To: seconds(45), Of: export.OfExport, Runs: 1, Rows: 1000}},
	} {
		if diff := cmp.Diff(test.want, export.NewForecast(export.OfExport, test.past, test.runs)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	many := make([]uint64, export.MaxEstimated)
	for i := range many {
		many[i] = 1 << 62
	}
	if forecast := export.NewForecast(export.OfAll, []export.Pace{{Rows: 1, Took: time.Hour}}, many); forecast.From <= 0 || forecast.To < forecast.From {
		t.Errorf("more rows than can be waited for take %+v", forecast)
	}
}

func seconds(n int) export.Duration { return export.Duration(time.Duration(n) * time.Second) }
