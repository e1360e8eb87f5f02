package eventstore

import (
	"testing"
	"time"
)

func TestOverRosterOfTwoTopics(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
	marks := []Mark{
		{Source: "c/b/0", Topic: "b", Partition: 0, Partitions: 1, At: at(9)},
		{Source: "c/a/1", Topic: "a", Partition: 1, Partitions: 2, At: at(5)},
		{Source: "c/a/0", Topic: "a", Partition: 0, Partitions: 2, At: at(7)},
	}
	if w := overRoster(marks); !w.Complete || !w.At.Equal(at(5)) || w.HeldBy != "c/a/1" || w.Reason != "" {
		t.Errorf("watermark = %+v", w)
	}
	for i := range marks { // overRoster sorts, so look for it
		if marks[i].Topic == "b" {
			marks[i].At = time.Time{}
		}
	}
	if w := overRoster(marks); w.Complete || !w.At.IsZero() || w.HeldBy != "c/b/0" {
		t.Errorf("watermark with a new partition = %+v", w)
	}
}
