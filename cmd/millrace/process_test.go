package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/config"
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

// A port that something else has is an error with the flag and the variable that move it.
func TestTakenPorts(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	taken := other.Addr().String()
	file := filepath.Join(t.TempDir(), "millrace.yaml")
	write(t, file, "teams:\n  - {id: 1, name: shop, token: mr_shop}\n")
	const remedy = "address already in use: stop what listens there, or give another address with "
	for _, test := range []struct {
		args, variable, want string
	}{
		{"ingest --capture-only --listen " + taken, "", "capture: listen for events: listen tcp " + taken + ": bind: " + remedy + "--listen or MILLRACE_LISTEN, such as MILLRACE_LISTEN=127.0.0.1:8001"},
		{"ingest --capture-only", config.VarListen, remedy + "--listen or MILLRACE_LISTEN, such as MILLRACE_LISTEN=127.0.0.1:8001"},
		{"ingest --capture-only --metrics-listen " + taken, "", remedy + "--metrics-listen or MILLRACE_METRICS_LISTEN"},
		{"codec --listen " + taken, "", "listen for the codec: listen tcp " + taken + ": bind: " + remedy + "--listen"},
	} {
		t.Run(test.args, func(t *testing.T) {
			clearEnvironment(t)
			t.Setenv(config.VarConfig, file)
			t.Setenv(config.VarKafkaBrokers, "127.0.0.1:1")
			t.Setenv(config.VarCodecKeys, "k1=env:TEST_KEY")
			t.Setenv("TEST_KEY", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=")
			if test.variable != "" {
				t.Setenv(test.variable, taken)
			}
			code, _, stderr := call(t, strings.Fields(test.args)...)
			if code != exitFailed || !strings.HasSuffix(stderr, test.want+"\n") {
				t.Errorf("exit code %d, want …%s:\n%s", code, test.want, stderr)
			}
		})
	}
}
