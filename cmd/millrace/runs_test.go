package main

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/eventstore"
)

// An empty ledger, a name that nothing ran under, and a filter that matches nothing are three things.
func TestNoRuns(t *testing.T) {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	both := []string{"orders", "shop-events"}
	for _, test := range []struct {
		filter   eventstore.RunFilter
		recorded []string
		want     string
	}{
		{eventstore.RunFilter{}, nil, "Nothing has run yet: the ledger is empty.\n" + howToRun("NAME")},
		{eventstore.RunFilter{Export: "shop-events", Failed: true}, nil, "Nothing has run yet: the ledger is empty.\n" + howToRun("shop-events")},
		{eventstore.RunFilter{Export: "shop-event"}, both, "Nothing of export \"shop-event\" has run yet: the ledger has runs of orders, shop-events.\n" + howToRun("shop-event")},
		{eventstore.RunFilter{Failed: true}, both, "Nothing is to be repeated: no interval's last run failed."},
		{eventstore.RunFilter{Failed: true, Since: at}, both, "Nothing is to be repeated of what ended at 2026-11-01T00:00:00Z or later: no interval's last run failed."},
		{eventstore.RunFilter{Since: at}, both, "No run matches: the ledger has runs of orders, shop-events, but none of an interval that ended at 2026-11-01T00:00:00Z or later."},
		{eventstore.RunFilter{Export: "orders", Since: at}, both, "No run matches: the ledger has runs of orders, but none of an interval that ended at 2026-11-01T00:00:00Z or later."},
	} {
		if got := noRuns(test.filter, test.recorded); got != test.want {
			t.Errorf("%+v\ngot  %s\nwant %s", test.filter, got, test.want)
		}
	}
	for _, command := range []string{"millrace run orders --start TIME --end TIME", "temporal schedule trigger --schedule-id orders --overlap-policy AllowAll"} {
		if !strings.Contains(howToRun("orders"), command) {
			t.Errorf("%s is not told:\n%s", command, howToRun("orders"))
		}
	}
}
