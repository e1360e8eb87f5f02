package loader

import "unsafe"

// pages is memory outside of Go's heap, zero at first. Windows of duplicates are large, stay, and hold no pointers. On the
// heap the garbage collector would let as much garbage gather beside them as they are large (GOGC), which for eight windows
// is more than all else that a loader needs. Who has made it frees it; nothing of it may be used afterwards.
type pages struct{ memory []byte }

// newPages is memory of a size. Without any left it panics, as make does.
func newPages(size int) pages { return pages{allocate(size)} }

// free gives the memory back. It may be called twice.
func (p *pages) free() {
	if p.memory != nil {
		release(p.memory)
		p.memory = nil
	}
}

// keysIn is memory as so many keys. It begins on a page, and so is aligned for any type.
func keysIn(p pages, count int) []key {
	return unsafe.Slice((*key)(unsafe.Pointer(unsafe.SliceData(p.memory))), count)
}

// bucketsIn is memory as so many buckets.
func bucketsIn(p pages, count int) []bucket {
	return unsafe.Slice((*bucket)(unsafe.Pointer(unsafe.SliceData(p.memory))), count)
}
