package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"github.com/millrace/millrace/ingest/broker"
)

// Clients send events to captures all the time, as client libraries do: a request that is not answered 200 is sent again,
// the same events with the same uuids, to another capture, until it is. Some requests are sent once more after their 200, as
// by a client that did not hear it. Beside them somebody puts messages into Kafka that cannot be read.
type Clients struct {
	// Accepted are the events that were answered 200. To be read between Pause and Resume.
	Accepted map[uuid.UUID]bool
	// Unanswered counts requests that were not answered 200, Copies those that were sent once more.
	Unanswered, Copies int

	captures []string
	kafka    broker.Config
	perEvent time.Duration

	mu      sync.Mutex
	gate    sync.RWMutex // held for reading while something is under way
	stop    context.CancelFunc
	running sync.WaitGroup
	sent    int
}

// token is of the one team there is.
const token = "mr_crash"

const (
	senders   = 4  // requests under way at once
	mostBatch = 40 // events in one
	persons   = 400

	// Traffic comes in waves with lulls between, for watermarks are promised only while nothing comes.
	wave = 6 * time.Second
	lull = 1500 * time.Millisecond
)

// StartClients sends a number of events a second to captures, given as host:port. Random choices are drawn from a seed.
func StartClients(captures []string, kafka broker.Config, perSecond int, seed uint64) *Clients {
	ctx, stop := context.WithCancel(context.Background())
	c := &Clients{Accepted: map[uuid.UUID]bool{}, captures: captures, kafka: kafka, perEvent: time.Second / time.Duration(perSecond), stop: stop}
	for sender := range uint64(senders) {
		random := rand.New(rand.NewPCG(seed, 1+sender))
		c.running.Go(func() { c.send(ctx, random) })
	}
	random := rand.New(rand.NewPCG(seed, 1+senders))
	c.running.Go(func() { c.litter(ctx, random) })
	return c
}

// Pause lets nothing new be sent, and waits until everything that is under way is in.
func (c *Clients) Pause() { c.gate.Lock() }

// Resume lets the clients send again.
func (c *Clients) Resume() { c.gate.Unlock() }

// Close ends the clients. What is under way is given up.
func (c *Clients) Close() {
	c.stop()
	c.running.Wait()
}

func (c *Clients) send(ctx context.Context, random *rand.Rand) {
	client := &http.Client{Timeout: 8 * time.Second}
	defer client.CloseIdleConnections()
	began := time.Now()
	next := began
	for ctx.Err() == nil {
		c.gate.RLock()
		ids, body := c.batch(random)
		c.deliver(ctx, random, client, ids, body)
		if random.IntN(25) == 0 {
			c.deliver(ctx, random, client, ids, body)
			c.mu.Lock()
			c.Copies++
			c.mu.Unlock()
		}
		c.gate.RUnlock()
		// At a steady pace, which an outage does not make up for.
		next = later(next.Add(time.Duration(len(ids))*c.perEvent*senders), time.Now().Add(-time.Second))
		wait(ctx, time.Until(next))
		if left := wave - time.Since(began)%wave; left < lull {
			wait(ctx, left)
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// wait is how a fault lasts, and how senders keep their pace: it is time that passes, not a condition that is hoped for.
func wait(ctx context.Context, long time.Duration) {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (c *Clients) batch(random *rand.Rand) ([]uuid.UUID, []byte) {
	ids := make([]uuid.UUID, 1+random.IntN(mostBatch))
	events := make([]map[string]any, len(ids))
	for i := range ids {
		for j := range ids[i] {
			ids[i][j] = byte(random.Uint32())
		}
		events[i] = map[string]any{
			"event": "seen", "uuid": ids[i].String(), "distinct_id": "person-" + strconv.Itoa(random.IntN(persons)),
			"timestamp": time.Now().UTC().Format(time.RFC3339Nano), "properties": map[string]any{"n": random.IntN(1e6), "where": "ünï/code"},
		}
	}
	body, err := json.Marshal(map[string]any{"api_key": token, "batch": events})
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return ids, body
}

// deliver sends one request until it is accepted, or ctx ends.
func (c *Clients) deliver(ctx context.Context, random *rand.Rand, client *http.Client, ids []uuid.UUID, body []byte) {
	for try := random.IntN(len(c.captures)); ctx.Err() == nil; try++ {
		err := post(ctx, client, "http://"+c.captures[try%len(c.captures)]+"/batch/", body)
		c.mu.Lock()
		if err == nil {
			for _, id := range ids {
				c.Accepted[id] = true
			}
			c.mu.Unlock()
			return
		}
		c.Unanswered++
		c.mu.Unlock()
		wait(ctx, time.Duration(50+random.IntN(200))*time.Millisecond)
	}
}

func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("capture answers %s", answer.Status)
	}
	return nil
}

// litter puts a message into Kafka now and then that is no event.
func (c *Clients) litter(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		producer, err := broker.NewProducer(c.kafka)
		if err != nil {
			wait(ctx, 500*time.Millisecond)
			continue
		}
		for failed := false; !failed && ctx.Err() == nil; {
			c.gate.RLock()
			c.sent++
			producer.Input() <- &sarama.ProducerMessage{
				Topic: c.kafka.Topic, Key: broker.Key(1, "litter-"+strconv.Itoa(random.IntN(1000))),
				Value: sarama.StringEncoder(fmt.Sprintf("no event %d", c.sent)),
			}
			select {
			case <-producer.Successes():
			case refused := <-producer.Errors():
				failed = refused != nil // whether it is in is for Kafka's log to say
			}
			c.gate.RUnlock()
			wait(ctx, time.Duration(100+random.IntN(400))*time.Millisecond)
		}
		_ = producer.Close()
	}
}
