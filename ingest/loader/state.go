package loader

import (
	"encoding/json"
	"fmt"
	"time"
)

// parserVersion names how a message becomes a row. Raise it with every change of event.ParseMessage, or of the window of
// duplicates, that makes other rows of the same messages: a plan of another version is never repeated, only counted.
const parserVersion = 1

// State is the metadata beside a committed offset: the one copy of what a partition's owner knows.
type State struct {
	// TopicID is the topic that the offset counts in: the name may be another topic's by now.
	TopicID string `json:"topic_id"`
	// W is the watermark in microseconds since 1970.
	W int64 `json:"w"`
	// P is the offset of the last row of the watermark table that ClickHouse had answered for when this was committed.
	P int64 `json:"p"`
	// Plan is the block that is being inserted; nil if none is.
	Plan *Plan `json:"plan,omitempty"`
}

// Plan is what was decided about a block before it was inserted. Together with the committed offset c and the messages
// it determines the block's rows, arrival time and token.
type Plan struct {
	// End is one after the offset of the block's last message.
	End int64 `json:"end"`
	// At is the arrival time of all its rows, T, in microseconds since 1970.
	At int64 `json:"at"`
	// Rows, and Quarantined messages, are what the messages from c to End come to; the others are duplicates.
	Rows        int `json:"rows"`
	Quarantined int `json:"quarantined"`
	// Window is the first offset that was looked at for duplicates, d.
	Window int64 `json:"window"`
	// Try counts the plans for this range that came to nothing, k.
	Try int `json:"try"`
	// Parser is the version that made the rows, with the length of the window of duplicates.
	Parser string `json:"parser"`
}

func (p Plan) arrival() time.Time { return time.UnixMicro(p.At).UTC() }

// token names the block for ever.
func (p Plan) token(source string, c int64) string {
	return fmt.Sprintf("%s/%d-%d/%d/%d", source, c, p.End, p.Try, p.At)
}

// Text is the metadata.
func (s State) Text() (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("write the partition's state: %w", err)
	}
	return string(text), nil
}

// ParseState reads metadata; none is the zero State.
func ParseState(metadata string) (State, error) {
	var s State
	if metadata == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(metadata), &s); err != nil {
		return s, fmt.Errorf("read %.200q: %w", metadata, err)
	}
	return s, nil
}

// Watermark is W as a time; zero if nothing was promised.
func (s State) Watermark() time.Time {
	if s.W == 0 {
		return time.Time{}
	}
	return time.UnixMicro(s.W).UTC()
}

func micros(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMicro()
}
