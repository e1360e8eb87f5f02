package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

func waits(ended *bool) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		*ended = true
		return nil
	}
}

func TestTogetherDrainsAllWhenStopped(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(context.Background())
	var first, second bool
	done := make(chan error)
	go func() {
		done <- together(ctx, slog.New(slog.DiscardHandler), []part{{"first", waits(&first)}, {"second", waits(&second)}})
	}()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("a drained process is an error: %v", err)
	}
	if !first || !second {
		t.Errorf("ended before its parts had: %v %v", first, second)
	}
}

func TestTogetherStopsTheOthersWhenOneFails(t *testing.T) {
	defer goleak.VerifyNone(t)
	broken := errors.New("broken")
	var other bool
	err := together(context.Background(), slog.New(slog.DiscardHandler), []part{
		{"failing", func(context.Context) error { return broken }}, {"other", waits(&other)},
	})
	if !errors.Is(err, broken) || err.Error() != "failing: broken" {
		t.Errorf("got %v", err)
	}
	if !other {
		t.Error("the other part was not drained")
	}
}

func TestTogetherTakesAnEarlyEndForAFailure(t *testing.T) {
	err := together(context.Background(), slog.New(slog.DiscardHandler), []part{{"capture", func(context.Context) error { return nil }}})
	if err == nil || err.Error() != "capture: ended unasked" {
		t.Errorf("got %v", err)
	}
}

func TestFormats(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1299034: "1,299,034"} {
		if got := count(n); got != want {
			t.Errorf("count %d: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 12 << 20: "12.0 MiB", 1 << 40: "1.0 TiB", 1 << 60: "1048576.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("size %d: %s, want %s", n, got, want)
		}
	}
	if got := cut("äöüß", 3); got != "äö…" {
		t.Errorf("cut to %s", got)
	}
	var out bytes.Buffer
	printTable(&out, []string{"NAME", "ROWS"}, [][]string{{"a", "1"}, {"longer", ""}})
	if want := "NAME    ROWS\na       1\nlonger\n"; out.String() != want {
		t.Errorf("table:\n%swant\n%s", out.String(), want)
	}
}
