//go:build !linux

package main

import "syscall"

// stayInGroup does nothing here: the server's processes leave the group, and end when they next look for their parent.
func stayInGroup() error { return nil }

// endLeftovers leaves it to the server to find that another is at work in its folder.
func endLeftovers(string) error { return nil }

// keepAccess does nothing here: root needs tools and data where others may look.
func keepAccess(*syscall.SysProcAttr) error { return nil }
