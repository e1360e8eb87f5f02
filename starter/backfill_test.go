package starter

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/export"
)

// Whoever is refused is told of the range that is under way, also where its ends were left open.
func TestTheRangeOfABackfillUnderWayIsSaid(t *testing.T) {
	start, end := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	for want, under := range map[string]export.Backfill{
		"from 2026-11-01T00:00:00Z to 2026-11-02T00:00:00Z": {Start: &start, End: &end},
		"from 2026-11-01T00:00:00Z to the present":          {Start: &start},
		"from the earliest row to 2026-11-02T00:00:00Z":     {End: &end},
	} {
		message := (&OtherBackfillError{Export: "shop", WorkflowID: "backfill-shop", Range: rangeOf(under)}).Error()
		if !strings.Contains(message, "as workflow backfill-shop, "+want+": it is of another range") {
			t.Errorf("%s is told as: %s", want, message)
		}
	}
}
