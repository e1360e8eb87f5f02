//go:build crash

package crash

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/posthog/posthog-go"
)

const (
	rollingPerSecond = 2000
	rollingTurns     = 3
)

// TestARollingRestartUnderLoadIsNotNoticed restarts two captures and two loaders in turn, as an upgrade does, while two
// applications send through PostHog's Go library, each to a capture of its own. The library sends again what was not
// answered; what it would not send again, it would report.
func TestARollingRestartUnderLoadIsNotNoticed(t *testing.T) {
	p := newPlay(t)
	addresses := p.startCaptures(t, 2, "")
	p.startLoaders(t, 2, "") // with the defaults
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()

	apps := make([]*application, len(addresses))
	for i, address := range addresses {
		apps[i] = startApplication(t, address, rollingPerSecond/len(addresses))
	}
	ages := startAges(p)
	began := time.Now()
	for turn := range rollingTurns {
		for _, s := range p.services() {
			// Between two restarts everything has caught up: one at a time, as one does it.
			before, err := p.awaitSteady(ctx, apps)
			if err != nil {
				t.Fatal(err)
			}
			started := time.Now()
			if err := s.Restart(ctx); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("turn %d: %s was down and is back after %.1f s; %d events accepted before\n", turn+1, s.Name, time.Since(started).Seconds(), before)
		}
	}
	if _, err := p.awaitSteady(ctx, apps); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	sent := map[uuid.UUID]bool{}
	retries := 0
	for _, app := range apps {
		app.close(t)
		retries += int(app.refused.Load())
		for id := range app.sent {
			sent[id] = true
		}
	}
	worstAge := ages.close()

	if err := p.judge.ReadLog(ctx); err != nil {
		t.Fatal(err)
	}
	for missing := int64(1); missing > 0; wait(ctx, 100*time.Millisecond) {
		var err error
		if missing, err = p.judge.Loaded(ctx); err != nil {
			t.Fatal(err)
		}
	}
	faults, err := p.judge.Sentence(ctx, sent)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range append(append(faults, p.glance(t)...), p.fatal()...) {
		t.Error(fault)
	}
	var worstMillis, p99Millis uint64
	err = p.rows.QueryRow(ctx, `SELECT toUInt64(max(age)), toUInt64(quantileExact(0.99)(age)) FROM (SELECT dateDiff('millisecond', received_at, inserted_at) AS age FROM events)`).Scan(&worstMillis, &p99Millis)
	if err != nil {
		t.Fatal(err)
	}
	events, copies, _ := p.judge.Counts()
	fmt.Printf("\n%d events of two applications in %s, %.0f a second; %d restarts\n", events, took.Round(time.Second), float64(events)/took.Seconds(), rollingTurns*len(p.services()))
	fmt.Printf("requests that the library sent again: %d; events that it gave up: 0; copies in kafka, not loaded: %d\n", retries, copies)
	fmt.Printf("from acceptance to arrival: 99 %% within %.1f s, the worst %.1f s; the watermark was at most %.1f s old\n",
		float64(p99Millis)/1000, float64(worstMillis)/1000, worstAge.Seconds())
	const most = 30 * time.Second
	if worst := time.Duration(worstMillis) * time.Millisecond; worst > most || worstAge > most {
		t.Errorf("the lag was %s and the watermark's age %s, want under %s", worst, worstAge, most)
	}
}

// awaitSteady waits until two seconds' worth of events more are accepted, and the watermark is younger than five seconds by
// ClickHouse's clock. It returns how many events are accepted.
func (p *play) awaitSteady(ctx context.Context, apps []*application) (accepted int64, err error) {
	count := func() (sum int64) {
		for _, app := range apps {
			sum += app.accepted.Load()
		}
		return sum
	}
	before := count()
	for {
		age, err := p.age(ctx)
		if accepted := count(); err == nil && age < 5*time.Second && accepted >= before+2*rollingPerSecond {
			return accepted, nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("wait for a steady flow: %d events more, a watermark %s old: %w", count()-before, age, errors.Join(err, ctx.Err()))
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// age is that of the least mark.
func (p *play) age(ctx context.Context) (time.Duration, error) {
	var micros int64
	err := p.rows.QueryRow(ctx, `SELECT toUnixTimestamp64Micro(now64(6)) - min(at) FROM (SELECT toUnixTimestamp64Micro(max(at)) AS at FROM watermarks GROUP BY topic, partition)`).Scan(&micros)
	return time.Duration(micros) * time.Microsecond, err
}

// ages samples the watermark's age.
type ages struct {
	stop    context.CancelFunc
	running sync.WaitGroup
	worst   time.Duration
}

func startAges(p *play) *ages {
	ctx, stop := context.WithCancel(context.Background())
	a := &ages{stop: stop}
	a.running.Go(func() {
		for ; ctx.Err() == nil; wait(ctx, 50*time.Millisecond) {
			if age, err := p.age(ctx); err == nil {
				a.worst = max(a.worst, age)
			}
		}
	})
	return a
}

func (a *ages) close() time.Duration {
	a.stop()
	a.running.Wait()
	return a.worst
}

// application sends events through PostHog's library at a steady pace.
type application struct {
	client   posthog.Client
	stop     context.CancelFunc
	running  sync.WaitGroup
	sent     map[uuid.UUID]bool
	accepted atomic.Int64 // by the library's own word
	refused  atomic.Int64 // requests that were not answered 200
	gaveUp   atomic.Pointer[error]
}

func startApplication(t *testing.T, address string, perSecond int) *application {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	app := &application{stop: stop, sent: map[uuid.UUID]bool{}}
	var err error
	app.client, err = posthog.NewWithConfig(token, posthog.Config{
		Endpoint: "http://" + address, BatchSize: 100, Interval: 200 * time.Millisecond, Callback: app, Transport: app, Logger: silent{},
	})
	if err != nil {
		t.Fatal(err)
	}
	app.running.Go(func() {
		const each = 20 * time.Millisecond
		for n := 0; ctx.Err() == nil; wait(ctx, each) {
			for range perSecond * int(each) / int(time.Second) {
				id := uuid.New()
				app.sent[id] = true
				n++
				_ = app.client.Enqueue(posthog.Capture{Uuid: id.String(), DistinctId: "person-" + strconv.Itoa(n%500), Event: "seen", Properties: posthog.Properties{"n": n}})
			}
		}
	})
	t.Cleanup(func() { stop(); app.running.Wait() })
	return app
}

// close lets the library deliver what it has, and wants it to have given up nothing.
func (a *application) close(t *testing.T) {
	t.Helper()
	a.stop()
	a.running.Wait()
	if err := a.client.Close(); err != nil {
		t.Error(err)
	}
	if failed := a.gaveUp.Load(); failed != nil {
		t.Errorf("the library gave up events: %v", *failed)
	}
	if accepted := a.accepted.Load(); accepted != int64(len(a.sent)) {
		t.Errorf("%d of %d events were delivered, as the library says", accepted, len(a.sent))
	}
}

// Success and Failure are what the library reports of each event.
func (a *application) Success(posthog.APIMessage) { a.accepted.Add(1) }

// Failure is told when the library gives an event up.
func (a *application) Failure(_ posthog.APIMessage, err error) { a.gaveUp.Store(&err) }

// RoundTrip counts what the library has to send again.
func (a *application) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil || answer.StatusCode != http.StatusOK {
		a.refused.Add(1)
	}
	return answer, err
}

type silent struct{}

func (silent) Debugf(string, ...any) {}
func (silent) Logf(string, ...any)   {}
func (silent) Warnf(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
