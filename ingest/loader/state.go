package loader

import (
	"encoding/json"
	"fmt"
	"time"
)

// state is the metadata beside a committed offset: the one copy of what a partition's owner knows.
type state struct {
	// TopicID is the topic that the offset counts in: the name may be another topic's by now.
	TopicID string `json:"topic_id"`
	// Watermark is W in microseconds since 1970.
	Watermark int64 `json:"w"`
}

func (s state) text() (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("write the partition's state: %w", err)
	}
	return string(text), nil
}

// parseState reads metadata; none is the zero state: a partition that nobody has loaded yet.
func parseState(metadata string) (state, error) {
	var s state
	if metadata == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(metadata), &s); err != nil {
		return s, fmt.Errorf("read %q: %w", metadata, err)
	}
	return s, nil
}

func (s state) watermark() time.Time {
	if s.Watermark == 0 {
		return time.Time{}
	}
	return time.UnixMicro(s.Watermark).UTC()
}
