package loader

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/event"
)

// key tells one event from another: 128 bits of SHA-256 over team, uuid, name, distinct id and time as the client
// wrote it: the row's own time is corrected by when the request was sent and received, and differs from try to try. Two
// events that differ share a key with a probability of 2⁻¹²⁸, and nobody can make two that do.
type key [2]uint64

func keyOf(row event.Row, timestamp []byte) key {
	text := make([]byte, 0, 256)
	text = binary.LittleEndian.AppendUint64(text, uint64(row.TeamID))
	text = append(text, row.UUID[:]...)
	// With their lengths, so that one part cannot run into the next.
	text = binary.LittleEndian.AppendUint64(text, uint64(len(timestamp)))
	text = append(text, timestamp...)
	text = binary.LittleEndian.AppendUint64(text, uint64(len(row.Event)))
	text = append(text, row.Event...)
	text = append(text, row.DistinctID...)
	sum := sha256.Sum256(text)
	return key{binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:16])}
}

// window holds the keys of a contiguous range of offsets, [from, end), to find events that are there already. What it
// holds is a function of the messages of that range. It grows with what it holds: 16 bytes for an offset, and 6 to 12 for
// finding it; 1.1 million offsets take 26 MB.
type window struct {
	from, end int64
	most      int64    // offsets that it is made for; it takes more, in steps that cost
	keys      []key    // of offset o at o modulo its length; zero for a message without a key
	slots     []uint32 // a hash table of 1 + index in keys, 0 for none; its length is a power of two
}

// newWindow is empty, begins at an offset, and is made for so many of them.
func newWindow(from, most int64) *window { return &window{from: from, end: from, most: most} }

// add takes the next offset up, and tells whether the same key is in the window already. Offsets that Kafka does not have
// are passed over.
func (w *window) add(offset int64, k key) (seen bool) {
	w.skip(offset)
	w.reserve(offset + 1)
	index := uint32(uint64(offset) % uint64(len(w.keys)))
	at, found := w.find(k)
	// The later of two equal ones stands in the table, so that it is still found when the earlier has left.
	w.keys[index], w.slots[at] = k, index+1
	w.end = offset + 1
	return found
}

// skip takes up all offsets before one as messages without a key.
func (w *window) skip(before int64) {
	if w.from == w.end { // nothing is held
		w.from, w.end = max(w.from, before), max(w.end, before)
		return
	}
	w.reserve(before)
	for ; w.end < before; w.end++ {
		w.keys[uint64(w.end)%uint64(len(w.keys))] = key{}
	}
}

// forget drops all offsets before one.
func (w *window) forget(before int64) {
	for ; w.from < min(before, w.end); w.from++ {
		index := uint32(uint64(w.from) % uint64(len(w.keys)))
		if k := w.keys[index]; k != (key{}) {
			if at, found := w.find(k); found && w.slots[at] == index+1 {
				w.remove(at)
			}
		}
	}
	w.from, w.end = max(w.from, before), max(w.end, before)
}

// find is the slot of a key, or the empty one where it belongs.
func (w *window) find(k key) (at uint64, found bool) {
	mask := uint64(len(w.slots) - 1)
	for at = k[0] & mask; w.slots[at] != 0; at = (at + 1) & mask {
		if w.keys[w.slots[at]-1] == k {
			return at, true
		}
	}
	return at, false
}

// remove empties a slot, and moves up what stands behind it and would not be found any more.
func (w *window) remove(empty uint64) {
	mask := uint64(len(w.slots) - 1)
	w.slots[empty] = 0
	for at := (empty + 1) & mask; w.slots[at] != 0; at = (at + 1) & mask {
		home := w.keys[w.slots[at]-1][0] & mask
		if (at-home)&mask >= (at-empty)&mask {
			w.slots[empty], w.slots[at] = w.slots[at], 0
			empty = at
		}
	}
}

// reserve makes room for all offsets from the first that is held to before end.
func (w *window) reserve(end int64) {
	need := end - w.from
	if need <= int64(len(w.keys)) {
		return
	}
	room := max(1024, need, 2*int64(len(w.keys)))
	if room > w.most/2 {
		room = max(need, w.most) // so that no larger one has to be copied later
	}
	w.slots = nil // lets go of it before the next is made
	grown := make([]key, room)
	for offset := w.from; offset < w.end; offset++ {
		grown[uint64(offset)%uint64(len(grown))] = w.keys[uint64(offset)%uint64(len(w.keys))]
	}
	w.keys = grown
	slots := 1024
	for 2*slots < 3*len(grown) {
		slots *= 2
	}
	w.slots = make([]uint32, slots)
	for offset := w.from; offset < w.end; offset++ {
		index := uint64(offset) % uint64(len(w.keys))
		if k := w.keys[index]; k != (key{}) {
			at, _ := w.find(k)
			w.slots[at] = uint32(index) + 1
		}
	}
}

// remember takes up a message that was loaded before.
func (w *window) remember(message *sarama.ConsumerMessage) {
	row, timestamp, err := event.ParseOriginal(message.Value)
	if err != nil {
		w.skip(message.Offset + 1)
		return
	}
	w.add(message.Offset, keyOf(row, timestamp))
}
