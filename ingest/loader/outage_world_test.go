//go:build world

package loader_test

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/eventstore/eventstoretest"
	"github.com/millrace/millrace/ingest/loader"
	"github.com/millrace/millrace/internal/testworld"
)

// proxy stands between the loader and ClickHouse, and can cut the line.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	isCut bool
	open  map[net.Conn]bool
	lines sync.WaitGroup
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, open: map[net.Conn]bool{}}
	p.lines.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut()
		p.lines.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.target)
		if err != nil || !p.hold(near, far) {
			_ = near.Close()
			if far != nil {
				_ = far.Close()
			}
			continue
		}
		for _, line := range [][2]net.Conn{{near, far}, {far, near}} {
			p.lines.Go(func() {
				_, _ = io.Copy(line[0], line[1])
				_ = line[0].Close()
				_ = line[1].Close()
			})
		}
	}
}

// hold takes note of both ends, unless the line is cut.
func (p *proxy) hold(near, far net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isCut {
		return false
	}
	p.open[near], p.open[far] = true, true
	return true
}

// cut ends all connections, also amid an insert, and lets none through until mend.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = true
	for conn := range p.open {
		_ = conn.Close()
	}
	clear(p.open)
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = false
}

// throughProxy is the configuration of a loader whose line to ClickHouse can be cut.
func (w *world) throughProxy(t *testing.T) (loader.Config, *proxy) {
	t.Helper()
	address, err := url.Parse(w.clickhouse.URL)
	if err != nil {
		t.Fatal(err)
	}
	line := startProxy(t, address.Host)
	address.Host = line.listener.Addr().String()
	config := w.config(t)
	clickhouse := w.clickhouse
	clickhouse.URL = address.String()
	config.Store = w.open(t, clickhouse)
	return config, line
}

// A loader that cannot find out where its partitions stand claims none of them, and would be silent about just those that
// nobody loads.
func TestPartitionsThatAreAssignedAndCannotBeClaimedAreToldAsStuck(t *testing.T) {
	w := newWorld(t)
	config, line := w.throughProxy(t)
	registry := prometheus.NewRegistry()
	config.Registerer = registry
	first := start(t, config)
	first.awaitClaims(t, func(claims int) bool { return claims == 8 })
	line.cut()
	second := start(t, w.config(t))
	second.awaitClaims(t, func(claims int) bool { return claims == 4 })
	testworld.Eventually(t, time.Minute, func() error {
		families, err := registry.Gather()
		if err != nil {
			return err
		}
		stuck := 0
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				if family.GetName() == "millrace_loader_stuck_seconds" && metric.GetGauge().GetValue() > 1 {
					stuck++
				}
			}
		}
		if stuck != 4 {
			return fmt.Errorf("%d partitions are told as stuck", stuck)
		}
		return nil
	})
	line.mend()
	first.awaitClaims(t, func(claims int) bool { return claims == 4 })
}

func TestClickHouseAwayGrowsLagAndLosesNothing(t *testing.T) {
	w := newWorld(t)
	config, line := w.throughProxy(t)
	running := start(t, config)
	w.send(t, 2000)
	w.awaitRows(t, 30*time.Second)

	line.cut()
	w.send(t, 20_000)
	lag := func() (sum int64) {
		for _, p := range running.Status() {
			sum += p.End - p.Next
		}
		return sum
	}
	testworld.Eventually(t, 30*time.Second, func() error {
		if lag := lag(); lag < 20_000 {
			return fmt.Errorf("the lag is %d", lag)
		}
		return nil
	})
	line.mend()
	w.awaitRows(t, time.Minute)
	// Three times in the midst of work, where an insert or its answer is cut off.
	for range 3 {
		w.send(t, 5000)
		line.cut()
		line.mend()
	}
	w.awaitRows(t, time.Minute)
	w.awaitLoaded(t, running)
	running.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}

// Tables become read-only in the midst of work, as an operator sets it or a full disk does, and nobody is asked for help.
func TestClickHouseReadOnlyGrowsLagAndLosesNothing(t *testing.T) {
	w := newWorld(t)
	running := start(t, w.config(t))
	w.send(t, 2000)
	w.sendBroken(t, 10)
	w.awaitRows(t, 30*time.Second)
	set := func(readonly int) {
		t.Helper()
		for _, table := range []string{"events", "quarantine", "watermarks"} {
			eventstoretest.Exec(t, fmt.Sprintf("ALTER TABLE `%s`.%s MODIFY SETTING table_readonly = %d", w.database(t), table, readonly))
		}
	}
	for range 3 {
		set(1)
		held := w.number(t, "SELECT count() FROM events")
		w.send(t, 20_000)
		w.sendBroken(t, 10)
		testworld.Eventually(t, 30*time.Second, func() error {
			lag := int64(0)
			for _, p := range running.Status() {
				lag += p.End - p.Next
			}
			if lag < 20_000 {
				return fmt.Errorf("the lag is %d", lag)
			}
			if p := running.Status()[0]; p.Plan == nil {
				return fmt.Errorf("no block of partition %d is tried", p.Partition)
			}
			return nil
		})
		if now := w.number(t, "SELECT count() FROM events"); now != held {
			t.Fatalf("%d rows came into a read-only table", now-held)
		}
		set(0)
		w.awaitRows(t, time.Minute)
	}
	for _, p := range running.Status() {
		if p.Stopped != "" {
			t.Errorf("partition %d is left to people: %s", p.Partition, p.Stopped)
		}
	}
	w.awaitQuarantined(t)
	running.stop()
	w.checkEachOnce(t)
	w.checkCommitted(t)
}
