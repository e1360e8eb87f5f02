package main

import (
	"fmt"
	"io"
	"net"
	"strings"
)

const nativePortFlag = "--tcp_port="

// frontNativePort puts a relay on the native port and gives the engine another port behind it; it returns the engine's
// arguments. A client that is killed resets its connections, and the engine as a library ends itself on a reset
// (version 26.7: "Terminate called for uncaught exception ... Connection reset by peer"), which a server does not do.
// The relay turns a reset into an orderly end, so that killed clients do not take the world with them.
func frontNativePort(args []string) ([]string, error) {
	fronted := make([]string, len(args))
	for i, arg := range args {
		port, found := strings.CutPrefix(arg, nativePortFlag)
		if !found {
			fronted[i] = arg
			continue
		}
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return nil, fmt.Errorf("listen on ClickHouse's native port: %w", err)
		}
		engine, err := unusedPort()
		if err != nil {
			return nil, err
		}
		go relayAll(listener, net.JoinHostPort("127.0.0.1", engine))
		fronted[i] = nativePortFlag + engine
	}
	return fronted, nil
}

// unusedPort asks the system for a port that nobody has just now.
func unusedPort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a port for the engine: %w", err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}

func relayAll(listener net.Listener, engine string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go relay(client, engine)
	}
}

// relay passes bytes both ways. However the client ends, the engine sees the end of its requests, may answer what it
// still has to, and is read to its own end, so that no unread byte makes a reset out of the close.
func relay(client net.Conn, engine string) {
	defer client.Close()
	server, err := net.Dial("tcp", engine)
	if err != nil {
		return // the engine does not listen yet, or has ended
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
	_, _ = io.Copy(io.Discard, server)
}
