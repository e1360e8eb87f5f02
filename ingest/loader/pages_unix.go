//go:build unix

package loader

import (
	"fmt"
	"syscall"
)

func allocate(size int) []byte {
	memory, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Sprintf("out of memory: %d bytes for a window of duplicates: %v", size, err))
	}
	return memory
}

func release(memory []byte) {
	if err := syscall.Munmap(memory); err != nil {
		panic(fmt.Sprintf("give the memory of a window of duplicates back: %v", err))
	}
}
