//go:build crash

package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/millrace/millrace/eventstore"
	"github.com/millrace/millrace/ingest/broker"
	"github.com/millrace/millrace/internal/testworld"
)

// play is the stage with everybody on it.
type play struct {
	*Stage
	clients *Clients
	reader  *Reader
	judge   *Judge
	binary  string
	env     []string
	folder  string
	rows    driver.Conn       // past the proxies
	store   *eventstore.Store // likewise
}

const (
	perSecond  = 300
	partitions = 8
)

// maxAge is how old arrival times may be in this world, in seconds, instead of ten minutes: so that plans grow too old while
// ClickHouse or a loader is away.
const maxAge = 20

// raise puts two captures and two loaders into a database and a topic of their own, with clients that send.
func raise(t *testing.T, seed uint64, broken string) *play {
	t.Helper()
	p := newPlay(t)
	p.shortenAges(t)
	addresses := p.startCaptures(t, 2, broken)
	p.startLoaders(t, 2, broken, "--block-age", "150ms", "--block-rows", "300", "--session-timeout", "2s", "--duplicates", "20000")
	p.clients = StartClients(addresses, p.judge.kafka, perSecond, seed)
	t.Cleanup(p.clients.Close)
	return p
}

// shortenAges makes rows too old for the table after maxAge.
func (p *play) shortenAges(t *testing.T) {
	t.Helper()
	statement := func(format string, args ...any) {
		t.Helper()
		if err := p.rows.Exec(t.Context(), fmt.Sprintf(format, args...)); err != nil {
			t.Fatal(err)
		}
	}
	statement("ALTER TABLE events DROP CONSTRAINT arrival")
	statement("ALTER TABLE events ADD CONSTRAINT arrival CHECK inserted_at > nowInBlock64(6) - INTERVAL %d SECOND AND inserted_at < nowInBlock64(6) + INTERVAL 1 MINUTE", maxAge)
	statement("ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = %d", 80*maxAge)
}

// newPlay makes database and topic; nobody is on the stage yet but the reader.
func newPlay(t *testing.T) *play {
	t.Helper()
	world, err := OpenWorld()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "millrace-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(folder)
		}
	})
	name := testworld.Name(t)
	p := &play{Stage: &Stage{World: world}, binary: filepath.Join(folder, "millrace"), folder: folder}
	// A copy, so that a build meanwhile does not change who is started again.
	program, err := os.ReadFile(testworld.Env(t, "MILLRACE_BINARY"))
	if err == nil {
		err = os.WriteFile(p.binary, program, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}

	through, err := url.Parse(testworld.Env(t, "MILLRACE_CLICKHOUSE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	through.Path = "/" + name
	past := *through
	if past.Host, err = world.Address(clickhousePart, clickhouseLine); err != nil {
		t.Fatal(err)
	}
	pastHTTP, err := world.Address(clickhousePart, clickhouseHTTPLine)
	if err != nil {
		t.Fatal(err)
	}
	store, err := eventstore.Open(t.Context(), eventstore.Config{URL: past.String(), HTTPURL: "http://" + pastHTTP})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	p.store = store
	if _, err := store.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	options, err := clickhouse.ParseDSN(past.String())
	if err != nil {
		t.Fatal(err)
	}
	if p.rows, err = clickhouse.Open(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.rows.Close() })

	kafka := broker.Config{Brokers: broker.ParseBrokers(testworld.Env(t, "MILLRACE_KAFKA_BROKERS")), Topic: name}
	ensured, err := broker.EnsureTopic(t.Context(), kafka, broker.Settings{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	p.judge = NewJudge(p.rows, kafka, ensured.Topic)
	p.reader = StartReader(store, p.rows)
	t.Cleanup(p.reader.Close)

	config := filepath.Join(folder, "millrace.yaml")
	if err := os.WriteFile(config, []byte("teams:\n  - {id: 1, name: crash, token: "+token+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.env = []string{"MILLRACE_CLICKHOUSE_URL=" + through.String(), "MILLRACE_KAFKA_TOPIC=" + name, "MILLRACE_CONFIG=" + config}
	return p
}

func (p *play) startCaptures(t *testing.T, count int, broken string) (addresses []string) {
	t.Helper()
	for i := range count {
		address := unusedAddress(t)
		addresses = append(addresses, address)
		p.Captures = append(p.Captures, p.start(t, ServiceConfig{
			Name: fmt.Sprintf("capture-%d", i+1), Args: []string{"ingest", "--capture-only", "--listen", address}, Broken: broken, Started: "capture takes events",
		}))
	}
	return addresses
}

func (p *play) startLoaders(t *testing.T, count int, broken string, flags ...string) {
	t.Helper()
	for i := range count {
		p.Loaders = append(p.Loaders, p.start(t, ServiceConfig{
			Name: fmt.Sprintf("loader-%d", i+1), Args: append([]string{"ingest", "--loader-only"}, flags...), Broken: broken, Started: "partition claimed",
		}))
	}
}

func (p *play) start(t *testing.T, config ServiceConfig) *Service {
	t.Helper()
	config.Binary, config.Env, config.Folder = p.binary, p.env, p.folder
	s, err := StartService(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.AwaitBegun(ctx); err != nil {
		t.Fatalf("%v; its log is %s", err, s.Log)
	}
	return s
}

func (p *play) services() []*Service {
	return append(append(append([]*Service{}, p.Captures...), p.Loaders...), p.Workers...)
}

// status is what an operator would see.
func (p *play) status(t *testing.T) string {
	t.Helper()
	command := exec.Command(p.binary, "ingest", "status")
	command.Env = append(os.Environ(), p.env...)
	out, err := command.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("millrace ingest status: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// unusedAddress is on a port below those that systems draw for outgoing connections, one of which could take it while its
// capture is down.
func unusedAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 30_000+rand.IntN(2700))
		if listener, err := net.Listen("tcp", address); err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatal("no port from 30000 on is free")
	return ""
}
