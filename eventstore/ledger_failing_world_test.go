//go:build world

package eventstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/export"
)

// An export fails since the first of its latest runs that all failed by what the user has to mend. A published run, and a failure
// of the world's, end such a time; a cancelled run and a closed revision do not.
func TestSinceWhenAnExportFails(t *testing.T) {
	store := eventstoretest.New(t)
	now := time.Now().UTC().Truncate(time.Second)
	ago := func(hours int) time.Time { return now.Add(-time.Duration(hours) * time.Hour) }
	type run struct {
		hours  int // since it was recorded
		status eventstore.Status
		kind   export.Kind
	}
	published := func(hours int) run { return run{hours, eventstore.StatusPublished, ""} }
	failed := func(hours int, kind export.Kind) run { return run{hours, eventstore.StatusFailed, kind} }
	since := func(hours, runs int, kind export.Kind) export.Failing {
		return export.Failing{Since: ago(hours), Began: ago(hours).Add(-time.Minute), Runs: runs, Kind: kind}
	}
	for name, test := range map[string]struct {
		runs []run
		want export.Failing
	}{
		"never-ran":         {nil, export.Failing{}},
		"published":         {[]run{failed(3, export.KindAuth), published(2)}, export.Failing{}},
		"failing":           {[]run{published(5), failed(4, export.KindConfig), failed(3, export.KindSchema), failed(2, export.KindAuth)}, since(4, 3, export.KindAuth)},
		"always-failing":    {[]run{failed(30, export.KindNotFound), failed(29, export.KindPermission)}, since(30, 2, export.KindPermission)},
		"the-worlds-last":   {[]run{failed(4, export.KindAuth), failed(3, export.KindDestinationUnavailable)}, export.Failing{}},
		"the-worlds-amid":   {[]run{failed(4, export.KindAuth), failed(3, export.KindQuota), failed(2, export.KindAuth)}, since(2, 1, export.KindAuth)},
		"data-amid":         {[]run{failed(4, export.KindAuth), failed(3, export.KindData), failed(2, export.KindAuth)}, since(2, 1, export.KindAuth)},
		"cancelled-amid":    {[]run{failed(4, export.KindAuth), {3, eventstore.StatusCancelled, export.KindCancelled}, failed(2, export.KindAuth)}, since(4, 2, export.KindAuth)},
		"closed-amid":       {[]run{failed(4, export.KindAuth), {3, eventstore.StatusClosed, export.KindData}, failed(2, export.KindAuth)}, since(4, 2, export.KindAuth)},
		"published-by-now":  {[]run{failed(4, export.KindAuth), published(0)}, export.Failing{}},
		"published-between": {[]run{failed(4, export.KindAuth), published(3), failed(2, export.KindAuth)}, since(2, 1, export.KindAuth)},
	} {
		var rows []string
		for i, one := range test.runs {
			at, publishedAt := ago(one.hours), int64(0)
			if one.status == eventstore.StatusPublished {
				publishedAt = at.UnixMicro()
				at = now // the row may be written again at any time, from the manifest
			}
			rows = append(rows, fmt.Sprintf("('%s', %d, %d, 1, '%s', '%s', %d, %d, %d)", name, 3600*i, 3600*(i+1), one.status, one.kind, ago(one.hours).Add(-time.Minute).UnixMicro(), publishedAt, at.UnixMicro()))
		}
		if len(rows) > 0 {
			eventstoretest.Exec(t, "INSERT INTO `"+store.Database()+"`.ledger (export, interval_start, interval_end, revision, status, error_kind, started_at, published_at, recorded_at) SETTINGS async_insert = 0 VALUES "+strings.Join(rows, ", "))
		}
		got, err := store.Failing(t.Context(), name)
		if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}
