package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/posthog/posthog-go"
)

// Delivery is what the client library told of the messages it was given.
type Delivery struct {
	mu        sync.Mutex
	confirmed int
	failed    int
	first     error // of the first message that failed
	logged    []string
	took      time.Duration
}

// Success implements posthog.Callback.
func (d *Delivery) Success(posthog.APIMessage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.confirmed++
}

// Failure implements posthog.Callback.
func (d *Delivery) Failure(_ posthog.APIMessage, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed++
	if d.first == nil {
		d.first = err
	}
}

// Logf implements posthog.Logger. The library logs what the server refused in this way.
func (d *Delivery) Logf(format string, args ...any) { d.log(format, args...) }

// Errorf implements posthog.Logger.
func (d *Delivery) Errorf(format string, args ...any) { d.log(format, args...) }

func (d *Delivery) log(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	const keep = 20
	if len(d.logged) < keep {
		d.logged = append(d.logged, fmt.Sprintf(format, args...))
	}
}

// Confirmed is how many messages the server has taken so far.
func (d *Delivery) Confirmed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.confirmed
}

// Answered is how many messages are confirmed or have failed for good.
func (d *Delivery) Answered() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.confirmed + d.failed
}

// Check is nil when all messages were confirmed.
func (d *Delivery) Check(sent int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.confirmed == sent && d.failed == 0 {
		return nil
	}
	err := fmt.Errorf("of %s events the server confirmed %s and %s failed", commas(sent), commas(d.confirmed), commas(d.failed))
	for _, line := range d.logged {
		err = errors.Join(err, errors.New("the client says: "+line))
	}
	return errors.Join(err, d.first)
}

// send hands the events to the real client library, of which nothing but the endpoint is changed, at the pace's times,
// and returns when every one of them is answered for. told is called about once in every tenth of the way.
func send(ctx context.Context, endpoint, token string, events []posthog.Capture, pace Pace, told func(enqueued, confirmed int)) (*Delivery, error) {
	delivery := &Delivery{}
	client, err := posthog.NewWithConfig(token, posthog.Config{Endpoint: endpoint, Callback: delivery, Logger: delivery})
	if err != nil {
		return nil, fmt.Errorf("make the posthog client: %w", err)
	}
	err = enqueue(ctx, client, events, pace, func(enqueued int) { told(enqueued, delivery.Confirmed()) })
	if err == nil {
		err = settle(ctx, delivery, len(events))
	}
	// Close sends what is left and waits for all answers.
	if closeErr := client.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close the posthog client: %w", closeErr)
	}
	delivery.took = time.Since(pace.Start)
	if err != nil {
		return delivery, err
	}
	return delivery, delivery.Check(len(events))
}

// settle waits until no full batch is unanswered: the library gives up at once what it is still trying again when it is
// closed.
func settle(ctx context.Context, delivery *Delivery, sent int) error {
	return await(ctx, "the answers to the last events", time.Minute, func(context.Context) (string, error) {
		if open := sent - delivery.Answered(); open >= posthog.DefaultBatchSize {
			return commas(open) + " events are unanswered", nil
		}
		return "", nil
	})
}

func enqueue(ctx context.Context, client posthog.Client, events []posthog.Capture, pace Pace, told func(int)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	sent, tenths := 0, 0
	for sent < len(events) {
		for due := pace.Due(time.Now(), len(events)); sent < due; sent++ {
			if err := client.Enqueue(events[sent]); err != nil {
				return fmt.Errorf("hand event %s to the posthog client: %w", events[sent].Uuid, err)
			}
		}
		if now := sent * 10 / len(events); now > tenths {
			tenths = now
			told(sent)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}
