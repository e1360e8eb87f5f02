//go:build !linux

package main

import "syscall"

const mindPostgres = "mind-postgres"

// startMinder does nothing here: the processes of a server that was killed end when they next look for their parent.
func startMinder(string) (end func(), err error) { return func() {}, nil }

func runMindPostgres([]string) error { return nil }

// endLeftovers leaves it to the server to find that another is at work in its folder.
func endLeftovers(string) error { return nil }

// keepAccess does nothing here: root needs tools and data where others may look.
func keepAccess(*syscall.SysProcAttr) error { return nil }
