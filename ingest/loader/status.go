package loader

import "time"

// PartitionStatus is where one claimed partition stands.
type PartitionStatus struct {
	Partition int32  `json:"partition"`
	Source    string `json:"source"`
	// Next is the first offset that is not loaded and committed.
	Next int64 `json:"next"`
	// End is the end of Kafka's log when it was last looked at, every 2 s; End less Next is the lag in messages.
	End int64 `json:"end"`
	// Watermark is the last W that was committed; it is published within a second.
	Watermark time.Time `json:"watermark"`
	// Plan is the block that is being inserted; nil between two.
	Plan *Plan `json:"plan,omitempty"`
	// Stopped says why only people can go on, and how; empty if all is well.
	Stopped string `json:"stopped,omitempty"`

	progressed time.Time // when something was loaded last, or nothing waited, by the monotonic clock
	isWaiting  bool      // it is assigned, and not known where it stands
}

// Status tells the claimed partitions by number; none between two sessions. It may be called at any time.
func (l *Loader) Status() []PartitionStatus {
	claims := l.claimed()
	statuses := make([]PartitionStatus, len(claims))
	for i, c := range claims {
		c.note(func(s *PartitionStatus) { statuses[i] = *s })
	}
	return statuses
}
