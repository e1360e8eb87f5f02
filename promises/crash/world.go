package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
)

// World is the parts of the outside world, which are started again when they die, and the lines to them, which can be cut.
// The environment has the addresses of the lines.
type World struct {
	record    string // the path of devstack's world.json
	toxiproxy string // the URL of its API
}

// The parts and lines that faults go for, by the names that devstack gives them.
const (
	clickhousePart = "clickhouse"
	kafkaPart      = "kafka"

	clickhouseLine     = "clickhouse"
	clickhouseHTTPLine = "clickhouse-http"
	kafkaLine          = "kafka"
)

// OpenWorld finds the world that this process was started in.
func OpenWorld() (*World, error) {
	w := &World{record: os.Getenv("DEVSTACK_WORLD"), toxiproxy: os.Getenv("DEVSTACK_TOXIPROXY_URL")}
	if w.record == "" || w.toxiproxy == "" {
		return nil, errors.New("DEVSTACK_WORLD or DEVSTACK_TOXIPROXY_URL is not set: run this by `make test/crash`")
	}
	return w, nil
}

// part is what world.json says of a part.
type part struct {
	Name      string            `json:"name"`
	PID       int               `json:"pid"`
	Ready     bool              `json:"ready"`
	Addresses map[string]string `json:"addresses"`
}

func (w *World) part(name string) (part, error) {
	content, err := os.ReadFile(w.record)
	if err != nil {
		return part{}, fmt.Errorf("read the record of the world: %w", err)
	}
	var record struct {
		Parts []part `json:"parts"`
	}
	if err := json.Unmarshal(content, &record); err != nil {
		return part{}, fmt.Errorf("read the record of the world: %w", err)
	}
	for _, p := range record.Parts {
		if p.Name == name {
			return p, nil
		}
	}
	return part{}, fmt.Errorf("the world has no part %s", name)
}

// Address is that of a part's port past the proxy, so that who judges is not disturbed by faults of lines.
func (w *World) Address(name, port string) (string, error) {
	p, err := w.part(name)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(p.Addresses[port], "http://"), nil
}

// awaitPart waits until a part answers, as another process than a given one.
func (w *World) awaitPart(ctx context.Context, name string, other int) (part, error) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		p, err := w.part(name)
		if err != nil || p.Ready && p.PID != other {
			return p, err
		}
		select {
		case <-ctx.Done():
			return p, fmt.Errorf("wait for %s to answer again: %w", name, ctx.Err())
		case <-again.C:
		}
	}
}

// Kill ends a part as by kill -9, and waits until it answers again.
func (w *World) Kill(ctx context.Context, name string) error {
	p, err := w.awaitPart(ctx, name, 0)
	if err != nil {
		return err
	}
	if err := syscall.Kill(-p.PID, syscall.SIGKILL); err != nil { // its whole group: the genuine Kafka is several
		return fmt.Errorf("kill %s: %w", name, err)
	}
	_, err = w.awaitPart(ctx, name, p.PID)
	return err
}

// Stop makes a part stand still until wake is called.
func (w *World) Stop(ctx context.Context, name string) (wake func(), err error) {
	p, err := w.awaitPart(ctx, name, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Kill(-p.PID, syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("stop %s: %w", name, err)
	}
	return func() { _ = syscall.Kill(-p.PID, syscall.SIGCONT) }, nil
}

// Cut ends all connections of a line and takes no new ones until mend is called.
func (w *World) Cut(ctx context.Context, line string) (mend func() error, err error) {
	set := func(ctx context.Context, enabled bool) error {
		return w.ask(ctx, http.MethodPost, "/proxies/"+line, map[string]any{"enabled": enabled})
	}
	return func() error { return set(context.WithoutCancel(ctx), true) }, set(ctx, false)
}

// toxic is a trouble of a line, as Toxiproxy names it.
type toxic struct {
	Type       string         `json:"type"`
	Stream     string         `json:"stream"` // "upstream" is towards the part
	Attributes map[string]int `json:"attributes"`
}

// Poison gives a line a trouble until heal is called.
func (w *World) Poison(ctx context.Context, line string, t toxic) (heal func() error, err error) {
	const name = "fault"
	err = w.ask(ctx, http.MethodPost, "/proxies/"+line+"/toxics", map[string]any{
		"name": name, "type": t.Type, "stream": t.Stream, "attributes": t.Attributes,
	})
	return func() error {
		return w.ask(context.WithoutCancel(ctx), http.MethodDelete, "/proxies/"+line+"/toxics/"+name, nil)
	}, err
}

func (w *World) ask(ctx context.Context, method, path string, body any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, w.toxiproxy+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask toxiproxy: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("ask toxiproxy: %s %s: %s: %s", method, path, answer.Status, text)
	}
	return nil
}
