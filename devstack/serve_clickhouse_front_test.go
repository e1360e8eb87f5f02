package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestAKilledClientEndsInAnOrderlyWayForTheEngine(t *testing.T) {
	engine, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	go relayAll(front, engine.Addr().String())

	client, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(client, "question"); err != nil {
		t.Fatal(err)
	}
	server, err := engine.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := server.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// A close without lingering is the reset that a kill makes of a connection with unread bytes.
	if err := client.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if request, err := io.ReadAll(server); err != nil || string(request) != "question" {
		t.Errorf("the engine read %q and ended with %v, want an orderly end", request, err)
	}
	// It still answers, more than any buffer holds, and is not reset for that either.
	if _, err := io.WriteString(server, strings.Repeat("answer", 1<<20)); err != nil {
		t.Errorf("the engine's answer: %v", err)
	}
}
