//go:build !unix

package loader

import "unsafe"

// Where there is no mmap the memory is the heap's.
func allocate(size int) []byte {
	words := make([]uint64, (size+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), size)
}

func release([]byte) {}
