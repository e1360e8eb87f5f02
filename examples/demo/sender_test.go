package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// standIn is a server that takes batches as capture does.
type standIn struct {
	mu       sync.Mutex
	requests int
	ids      map[string]int
	refuse   func(request int) int // a status, or 0 to take the batch
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if status := s.refuse(s.requests); status != 0 {
		http.Error(w, "come again", status)
		return
	}
	var body struct {
		Token string `json:"api_key"`
		Batch []struct {
			UUID string `json:"uuid"`
		} `json:"batch"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/batch/" || body.Token != projectToken {
		http.Error(w, "not a batch", http.StatusBadRequest)
		return
	}
	for _, event := range body.Batch {
		s.ids[event.UUID]++
	}
}

func startStandIn(t *testing.T, refuse func(int) int) (*standIn, string) {
	t.Helper()
	s := &standIn{ids: map[string]int{}, refuse: refuse}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

// quickPace sends everything within a moment.
func quickPace() Pace {
	now := time.Now()
	return Pace{Start: now, Full: now.Add(lead + 200*time.Millisecond)}
}

func TestSendHandsOverEveryEventOnceAndInTime(t *testing.T) {
	// The second request is refused once; the client library tries again by itself.
	server, address := startStandIn(t, func(request int) int {
		if request == 2 {
			return http.StatusServiceUnavailable
		}
		return 0
	})
	events := captures(someFlights(2000), strangeCaptures())
	tenths := 0
	pace := quickPace()
	delivery, err := send(context.Background(), address, projectToken, events, pace, func(int, int) { tenths++ })
	if err != nil {
		t.Fatal(err)
	}
	if time.Now().Before(pace.Last()) {
		t.Error("it did not keep the pace")
	}
	if delivery.Confirmed() != len(events) || len(server.ids) != len(events) || tenths == 0 {
		t.Errorf("%d confirmed, %d ids came, told %d times", delivery.Confirmed(), len(server.ids), tenths)
	}
	for id, times := range server.ids {
		if times != 1 {
			t.Errorf("%s came %d times", id, times)
		}
	}
}

func TestSendTellsWhatWasNotTaken(t *testing.T) {
	_, address := startStandIn(t, func(int) int { return http.StatusUnauthorized })
	delivery, err := send(context.Background(), address, projectToken, captures(someFlights(20), nil), quickPace(), func(int, int) {})
	if err == nil || !strings.Contains(err.Error(), "of 20 events the server confirmed 0 and 20 failed") || !strings.Contains(err.Error(), "401") {
		t.Errorf("error is %v", err)
	}
	if delivery.Confirmed() != 0 {
		t.Errorf("%d are confirmed", delivery.Confirmed())
	}
}

func TestSendEndsWithItsContext(t *testing.T) {
	_, address := startStandIn(t, func(int) int { return 0 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	now := time.Now()
	_, err := send(ctx, address, projectToken, captures(someFlights(20), nil), Pace{Start: now, Full: now.Add(time.Hour)}, func(int, int) {})
	if err == nil || time.Since(now) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(now), err)
	}
}
