package main

import (
	"errors"
	"fmt"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// serveClickHouse is the hidden sub-command whose process is the ClickHouse server.
const serveClickHouse = "serve-clickhouse"

// listenForEver makes the engine, which is a library that answers one query and ends, behave as a server:
// it starts the listeners and then sleeps in a query that has no last row.
const listenForEver = "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; " +
	"SELECT sleepEachRow(3) FROM system.numbers FORMAT Null " +
	"SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0"

// runServeClickHouse serves until it is killed. The library must have a process of its own: it cannot be
// unloaded, handles signals itself, and allows one engine for each process.
func runServeClickHouse(args []string) error {
	if len(args) == 0 {
		return errors.New("the path of libchdb is missing")
	}
	// A client that has gone raises this in the thread that answers it. The engine means to block it, but blocks it in
	// those threads only that happen to start late enough; in the others it would end the process.
	signal.Ignore(syscall.SIGPIPE)
	args, err := frontNativePort(args)
	if err != nil {
		return err
	}
	library, err := purego.Dlopen(args[0], purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("load ClickHouse's engine: %w", err)
	}
	var query func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	purego.RegisterLibFunc(&query, library, "chdb_query_cmdline")

	arguments := append([]string{"clickhouse"}, args[1:]...)
	arguments = append(arguments, "--query="+listenForEver)
	var pinned runtime.Pinner
	defer pinned.Unpin()
	argv := make([]*byte, len(arguments)+1) // C wants a null pointer after the last
	for i, a := range arguments {
		c := append([]byte(a), 0)
		pinned.Pin(&c[0])
		argv[i] = &c[0]
	}
	pinned.Pin(&argv[0])
	query(int32(len(arguments)), unsafe.Pointer(&argv[0]))
	return errors.New("the engine ended by itself")
}
