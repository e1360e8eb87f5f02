package export

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"
)

// Limits of a plan.
const (
	// DefaultChunkRows is about a million rows of 300 bytes: some seconds of work, which is what a crash may cost.
	DefaultChunkRows = 1_000_000
	// DefaultChunkBytes bounds chunks of larger rows.
	DefaultChunkBytes = 1 << 30
	// MaxChunks keeps a run's history far below Temporal's limit of 51,200 events.
	MaxChunks = 1000
	// minChunkRows keeps a slip of the pen from making a million files.
	minChunkRows = 1000
	// minChunkBytes does so, too.
	minChunkBytes = 1 << 20
)

// Position is a place in the sort order of a model. Times are integers, so that no text form can round them. The sort order
// of `events` is hour, team, arrival time, source and offset, as in its table. That of a model of one's own is arrival time
// and then the hash of the key, which cuts rows of one arrival time whatever the key is made of.
type Position struct {
	// Hour is the hour of arrival, in Unix seconds; 0 in a model of one's own.
	Hour int64 `json:"hour"`
	// Team is the team's number; 0 in a model of one's own.
	Team int64 `json:"team"`
	// Arrival is the arrival time in Unix microseconds.
	Arrival int64 `json:"arrival"`
	// Source is the Kafka partition that the row came from; "" in a model of one's own.
	Source string `json:"source"`
	// Offset is the row's offset in it: rows of one block share one arrival time.
	Offset uint64 `json:"offset,omitempty"`
	// Key is cityHash64 of the key's columns, in a model of one's own.
	Key uint64 `json:"key,omitempty"`
}

// Compare is negative when p comes before q in the sort order, 0 when they are one place, and else positive.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Hour, q.Hour), cmp.Compare(p.Team, q.Team), cmp.Compare(p.Arrival, q.Arrival),
		cmp.Compare(p.Source, q.Source), cmp.Compare(p.Offset, q.Offset), cmp.Compare(p.Key, q.Key))
}

// String is for messages.
func (p Position) String() string {
	at := time.UnixMicro(p.Arrival).UTC().Format("2006-01-02T15:04:05.000000Z")
	if p.Arrival == 0 {
		at = time.Unix(p.Hour, 0).UTC().Format(time.RFC3339)
	}
	if p.Team == 0 {
		return at
	}
	return fmt.Sprintf("%s of team %d", at, p.Team)
}

// Chunk is a range of the sort order within a run: the unit of work, of retry and of checkpoint.
type Chunk struct {
	// Index counts from 0, in sort order.
	Index int `json:"index"`
	// From is the first place that belongs to the chunk; nil is the beginning of the interval.
	From *Position `json:"from,omitempty"`
	// To is the first place that no longer belongs to it; nil is the end of the interval.
	To *Position `json:"to,omitempty"`
	// Rows is how many rows the range holds. The watermark has passed, so it can never change.
	Rows uint64 `json:"rows"`
	// Bytes is about how many bytes its values have before encoding; 0 in plans of before this was counted.
	Bytes uint64 `json:"bytes,omitempty"`
}

// Closing says by which rule an interval was known to be complete.
type Closing struct {
	// Rule is RuleWatermark: every loader had passed the interval's end; or RuleSettle: as much time as the model declares
	// had passed since.
	Rule string `json:"rule"`
	// Watermark is the watermark that was read, or ClickHouse's time, RFC 3339 with microseconds.
	Watermark string `json:"watermark"`
	// Settle is the model's, under RuleSettle.
	Settle Duration `json:"settle,omitempty"`
}

// The rules by which an interval is known to be complete.
const (
	// RuleWatermark closes the intervals of tables that Millrace loads.
	RuleWatermark = "watermark"
	// RuleSettle closes those of others' tables: it believes what the model declares.
	RuleSettle = "settle"
)

// Plan is what a run will do, written once, first and conditionally, at the destination. Whoever comes second works
// by the plan that is there.
type Plan struct {
	// Version is the version of this format: 1.
	Version int `json:"version"`
	Run     Run `json:"run"`
	// Definition is the whole definition that the plan was made from.
	Definition     Definition `json:"definition"`
	DefinitionHash string     `json:"definition_hash"`
	Closing        Closing    `json:"closing"`
	// Replaces is set in the plan of a redo; nil in all others.
	Replaces *Replacement `json:"replaces,omitempty"`
	// Rows is the sum over Chunks.
	Rows uint64 `json:"rows"`
	// Chunks are disjoint, in sort order, and cover the interval. None when there is no row.
	Chunks []Chunk `json:"chunks"`
	By     Author  `json:"by"`
}

// PlanVersion is the version of Plan that this code writes.
const PlanVersion = 1

// Hash is the plan's fingerprint. It covers everything but By, so that two workers who compute the same plan agree.
func (p Plan) Hash() string {
	p.By = Author{}
	encoded, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("encode plan of %s: %v", p.Run, err)) // plain data: cannot happen
	}
	return fingerprint(encoded)
}

// Validate says what is wrong with a plan that was read back, or nil.
func (p Plan) Validate() error {
	if p.Version != PlanVersion {
		return Errorf(KindInternal, "plan of %s has version %d, this program knows %d: run the version that wrote it", p.Run, p.Version, PlanVersion)
	}
	if len(p.Chunks) > MaxChunks {
		return Errorf(KindInternal, "plan of %s has %d chunks, more than %d", p.Run, len(p.Chunks), MaxChunks)
	}
	if p.Replaces != nil && p.Replaces.Revision >= p.Run.Revision {
		return Errorf(KindInternal, "plan of %s takes the place of revision %d, which is not an earlier one", p.Run, p.Replaces.Revision)
	}
	var rows uint64
	for i, chunk := range p.Chunks {
		rows += chunk.Rows
		if chunk.Index != i {
			return Errorf(KindInternal, "plan of %s: chunk %d has index %d", p.Run, i, chunk.Index)
		}
	}
	if rows != p.Rows {
		return Errorf(KindInternal, "plan of %s: its chunks hold %d rows, its total says %d", p.Run, rows, p.Rows)
	}
	return nil
}
