package capture

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/google/uuid"

	"github.com/millrace/millrace/event"
)

// identities gives the events of one request their UUIDs. The client's own is kept.
//
// An event without one gets another UUID each time it is sent, so an event that is sent again, because the answer was
// 503 or was lost, may be there twice: at least once, which is all that can be said of an event without identity.
//
// One case is better. When the event's own timestamp is finer than a millisecond, as that of PostHog's Go library is,
// two requests with the very same bytes are the same request, and the UUID is made of them: of the team, the body and
// the event's place in it. A coarser timestamp does not do: two purchases of the same minute, sent apart by a simple
// script, would become one, and losing an event is worse than having it twice.
type identities struct {
	team int64
	body []byte
	hash []byte // of body, made when first needed
}

// space keeps the UUIDs made here apart from those that others make by hashing.
var space = uuid.MustParse("b1d3b6b5-6d0c-4f0a-9a43-0d2f7a3f6a51")

// of is the UUID of the event at index, and whether the client had none.
func (i *identities) of(index int, sent event.Event) (id uuid.UUID, made bool) {
	if sent.UUID != uuid.Nil {
		return sent.UUID, false
	}
	if !sent.FinerThanMillisecond() {
		return uuid.Must(uuid.NewV7()), true // fails only when the system has no randomness left to give
	}
	if i.hash == nil {
		sum := sha256.Sum256(i.body)
		i.hash = sum[:]
	}
	data := binary.BigEndian.AppendUint64(nil, uint64(i.team))
	data = binary.BigEndian.AppendUint64(data, uint64(index))
	return uuid.NewHash(sha256.New(), space, append(data, i.hash...), 8), true
}
