//go:build world

package eventstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/eventstore/eventstoretest"
)

func TestWatermarkIsTheLeastOverACompleteRoster(t *testing.T) {
	store := eventstoretest.New(t)
	at := time.Date(2026, 11, 23, 11, 0, 0, 1000, time.UTC)
	mark := func(partition int32, after time.Duration) eventstore.Mark {
		m := eventstore.Mark{
			Source: "c/t/" + string('0'+partition), Topic: "t", Partition: partition, Partitions: 3, Offset: 5, Owner: "loader-1",
		}
		if after >= 0 {
			m.At = at.Add(after)
		}
		return m
	}
	publish := func(marks ...eventstore.Mark) {
		t.Helper()
		if err := store.PublishWatermarks(t.Context(), marks); err != nil {
			t.Fatalf("PublishWatermarks: %v", err)
		}
	}
	expect := func(want eventstore.Watermark) {
		t.Helper()
		got, err := store.Watermark(t.Context())
		if err != nil {
			t.Fatalf("Watermark: %v", err)
		}
		got.Marks = nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Watermark (-want +got):\n%s", diff)
		}
	}
	const isNew = -1

	expect(eventstore.Watermark{Reason: "no loader has ever published a watermark: start `millrace ingest` or `millrace up`"})
	publish(mark(0, 10*time.Second), mark(2, 5*time.Second))
	expect(eventstore.Watermark{HeldBy: "t/1", Topic: "t", Reason: "partition 1 of 3 of the topic with id t has no loader yet"})
	publish(mark(1, isNew))
	expect(eventstore.Watermark{HeldBy: "c/t/1", Topic: "t", Reason: "partition 1 of 3 of the topic with id t is new: its loader loader-1 has not begun"})
	publish(mark(1, time.Second))
	expect(eventstore.Watermark{Complete: true, At: at.Add(time.Second), HeldBy: "c/t/1"})
	publish(mark(1, time.Minute))
	expect(eventstore.Watermark{Complete: true, At: at.Add(5 * time.Second), HeldBy: "c/t/2"})
	// What comes late or twice changes nothing.
	publish(mark(1, 2*time.Second), mark(0, isNew))
	publish(mark(2, 5*time.Second))
	expect(eventstore.Watermark{Complete: true, At: at.Add(5 * time.Second), HeldBy: "c/t/2"})
	eventstoretest.Exec(t, "OPTIMIZE TABLE `"+store.Database()+"`.watermarks FINAL")
	expect(eventstore.Watermark{Complete: true, At: at.Add(5 * time.Second), HeldBy: "c/t/2"})
	// A topic that grew is incomplete until the new partition has a loader; so is a second topic.
	grown := mark(0, time.Hour)
	grown.Partitions = 4
	publish(grown)
	expect(eventstore.Watermark{HeldBy: "t/3", Topic: "t", Reason: "partition 3 of 4 of the topic with id t has no loader yet"})
}

// A context that ends right after an insert was answered must not close the connection under its next user.
func TestContextThatEndsAfterAnInsertHurtsNobody(t *testing.T) {
	store := eventstoretest.New(t)
	mark := eventstore.Mark{Source: "c/t/0", Topic: "t", Partitions: 1, At: time.Unix(1, 0)}
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		err := store.PublishWatermarks(ctx, []eventstore.Mark{mark})
		cancel()
		if err != nil {
			t.Fatalf("PublishWatermarks: %v", err)
		}
		if _, err := store.Watermark(t.Context()); err != nil {
			t.Fatalf("Watermark: %v", err)
		}
	}
}
