package loader

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/IBM/sarama"

	"github.com/millrace/millrace/event"
)

// key tells one event from another: 96 bits of SHA-256 over a secret of this process and the event's team, uuid, name,
// distinct id and time as the client wrote it: the row's own time is corrected by when the request was sent and received,
// and differs from try to try. Two events that differ share a key with a probability of 2⁻⁹⁶: at a million events a second,
// each against a full window, that is one event wrongly dropped in two thousand million years. Because of the secret nobody can search for two that do,
// nor tell whether he has found them. Keys never leave the process, so it does not matter that another's are others.
type key [3]uint32

// secret of this process.
var secret = func() (secret [16]byte) {
	_, _ = rand.Read(secret[:]) // which never fails
	return secret
}()

func keyOf(identity event.Identity) key {
	text := make([]byte, 0, 512)
	text = append(text, secret[:]...)
	text = binary.LittleEndian.AppendUint64(text, uint64(identity.TeamID))
	text = append(text, identity.UUID[:]...)
	// With their lengths, so that one part cannot run into the next.
	text = binary.LittleEndian.AppendUint64(text, uint64(len(identity.Timestamp)))
	text = append(text, identity.Timestamp...)
	text = binary.LittleEndian.AppendUint64(text, uint64(len(identity.Event)))
	text = append(text, identity.Event...)
	text = append(text, identity.DistinctID...)
	sum := sha256.Sum256(text)
	k := key{binary.LittleEndian.Uint32(sum[:4]), binary.LittleEndian.Uint32(sum[4:8]), binary.LittleEndian.Uint32(sum[8:12])}
	if k == (key{}) { // which stands for none
		k[0] = 1
	}
	return k
}

// window holds the keys of a contiguous range of offsets, [from, end), to find events that are there already. What it
// holds is a function of the messages of that range.
//
// The keys lie in a ring, 12 bytes for an offset. They are found by buckets of 15 references each, 4 bytes to a reference:
// the place in the ring, and some bits of the key, so that the ring is looked at for hardly any but the right one. A key
// whose bucket is full goes to the next that is not, and each bucket that it passes counts it, so that who looks knows
// when to look no further. A million offsets take 18 MB, outside of Go's heap (see pages).
type window struct {
	from, end   int64
	usual, most int64    // offsets that it is made for, mostly and at most; it takes more, in steps that cost
	keys        []key    // of offset o at o modulo its length; zero for a message without a key
	buckets     []bucket // where keys are
	place       int      // how many bits of a reference are the place
	held        [2]pages // the memory of keys and buckets
}

// bucket is as large as a line of the processor's cache.
type bucket struct {
	passed     uint32     // keys that would stand here if it were not full
	references [15]uint32 // 1 + index in keys, and above it bits of the key; 0 for none
}

const (
	keyBytes    = 12
	bucketBytes = 64
	// perBucket is how many keys there are for a bucket when the ring is full: five of six references are taken then: with
	// nine of ten it costs three times as much to find a key.
	perBucket = 12.5
)

// newWindow is empty, begins at an offset, and is made for so many of them. It takes no memory yet.
func newWindow(from, usual, most int64) *window {
	return &window{from: from, end: from, usual: min(usual, most), most: most}
}

// close lets go of the memory, and of all that is held.
func (w *window) close() {
	w.held[0].free()
	w.held[1].free()
	*w = window{usual: w.usual, most: w.most}
}

// add takes the next offset up, and tells whether the same key is in the window already. Offsets that Kafka does not have
// are passed over.
func (w *window) add(offset int64, k key) (seen bool) {
	w.skip(offset)
	w.reserve(offset + 1)
	index := w.index(offset)
	w.keys[index] = k
	w.end = offset + 1
	// The later of two equal ones is referred to, so that it is still found when the earlier has left.
	if reference := w.find(k); reference != nil {
		*reference = w.refer(k, index)
		return true
	}
	w.insert(k, index)
	return false
}

// skip takes up all offsets before one as messages without a key.
func (w *window) skip(before int64) {
	if w.from == w.end { // nothing is held
		w.from, w.end = max(w.from, before), max(w.end, before)
		return
	}
	w.reserve(before)
	for ; w.end < before; w.end++ {
		w.keys[w.index(w.end)] = key{}
	}
}

// forget drops all offsets before one.
func (w *window) forget(before int64) {
	for ; w.from < min(before, w.end); w.from++ {
		index := w.index(w.from)
		if k := w.keys[index]; k != (key{}) {
			w.remove(k, index)
		}
	}
	w.from, w.end = max(w.from, before), max(w.end, before)
}

// index is where the key of an offset is.
func (w *window) index(offset int64) uint32 { return uint32(uint64(offset) % uint64(len(w.keys))) }

// home is the bucket where a key belongs.
func (w *window) home(k key) int {
	home, _ := bits.Mul64(uint64(k[0])<<32|uint64(k[1]), uint64(len(w.buckets)))
	return int(home)
}

func (w *window) after(bucket int) int {
	if bucket++; bucket < len(w.buckets) {
		return bucket
	}
	return 0
}

// refer is the reference to a key: bits of it that say nothing about its home, and its place.
func (w *window) refer(k key, index uint32) uint32 { return k[2]<<w.place | (index + 1) }

// find is the reference to a key that is held, or nil.
func (w *window) find(k key) *uint32 {
	mark, mask := k[2]<<w.place, uint32(1)<<w.place-1
	at := w.home(k)
	for range w.buckets {
		b := &w.buckets[at]
		for i, reference := range b.references {
			if reference&^mask == mark && reference != 0 {
				if w.keys[reference&mask-1] == k {
					return &b.references[i]
				}
			}
		}
		if b.passed == 0 {
			return nil
		}
		at = w.after(at)
	}
	return nil
}

// insert refers to a key that is not referred to yet.
func (w *window) insert(k key, index uint32) {
	for at := w.home(k); ; at = w.after(at) {
		b := &w.buckets[at]
		for i, reference := range b.references {
			if reference == 0 {
				b.references[i] = w.refer(k, index)
				return
			}
		}
		b.passed++
	}
}

// remove takes the reference to a key away, if it is to this place: a later one of equal keys has taken it over otherwise.
func (w *window) remove(k key, index uint32) {
	reference := w.refer(k, index)
	home := w.home(k)
	at := home
	for range w.buckets {
		b := &w.buckets[at]
		for i := range b.references {
			if b.references[i] == reference {
				b.references[i] = 0
				for passed := home; passed != at; passed = w.after(passed) {
					w.buckets[passed].passed--
				}
				return
			}
		}
		if b.passed == 0 {
			return
		}
		at = w.after(at)
	}
}

// reserve makes room for all offsets from the first that is held to before end.
func (w *window) reserve(end int64) {
	need := end - w.from
	if need <= int64(len(w.keys)) {
		return
	}
	room := max(1024, need, 2*int64(len(w.keys)))
	for _, whole := range []int64{w.most, w.usual} { // so that no larger one has to be copied later
		if room > whole/2 && need <= whole {
			room = whole
		}
	}
	w.held[1].free() // before the next is made
	w.buckets = nil
	held := newPages(int(room) * keyBytes)
	grown := keysIn(held, int(room))
	for offset := w.from; offset < w.end; offset++ {
		grown[uint64(offset)%uint64(room)] = w.keys[w.index(offset)]
	}
	w.held[0].free()
	w.held[0], w.keys = held, grown
	w.place = bits.Len64(uint64(room))
	count := int(float64(room)/perBucket) + 1
	w.held[1] = newPages(count * bucketBytes)
	w.buckets = bucketsIn(w.held[1], count)
	for offset := w.from; offset < w.end; offset++ {
		index := w.index(offset)
		k := w.keys[index]
		if k == (key{}) {
			continue
		}
		if reference := w.find(k); reference != nil {
			*reference = w.refer(k, index)
		} else {
			w.insert(k, index)
		}
	}
}

// remember takes up a message that was loaded before.
func (w *window) remember(message *sarama.ConsumerMessage) {
	identity, err := event.ParseIdentity(message.Value)
	if err != nil {
		w.skip(message.Offset + 1)
		return
	}
	w.add(message.Offset, keyOf(identity))
}
