package main

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

func TestALockIsHeldByOneAndGivenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second holder got %v, want %v", err, ErrLocked)
	}

	waits := make(chan struct{})
	got := make(chan error)
	go func() {
		second, err := WaitLock(t.Context(), path, func() { close(waits) })
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	<-waits
	first.Close()
	if err := <-got; err != nil {
		t.Errorf("the one who waited got %v", err)
	}
}

func TestWaitingForALockEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := WaitLock(ctx, path, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
}
