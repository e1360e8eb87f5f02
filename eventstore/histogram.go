package eventstore

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/millrace/millrace/export"
)

// counted runs queries that count by place, under the names of a plan.
type counted struct {
	store      *Store
	rows       relation
	logComment string
	settings   map[string]string
}

// cells reads place, rows and bytes, in sort order.
func (c counted) cells(ctx context.Context, sql string) ([]cell, error) {
	rows, err := c.store.query(c.rows.bound(ctx, "", c.logComment, c.settings), sql)
	if err != nil {
		return nil, err
	}
	var cells []cell
	err = eachRow(rows, func() error {
		var one cell
		if err := rows.Scan(&one.at.Hour, &one.at.Team, &one.at.Arrival, &one.at.Source, &one.at.Offset, &one.at.Key, &one.rows, &one.bytes); err != nil {
			return err
		}
		cells = append(cells, one)
		return nil
	})
	return cells, err
}

// by forms such a query: the places' parts by name, those that are left out being zero, and the condition.
func (c counted) by(where string, parts map[string]string) string {
	var selected []string
	for _, part := range []struct{ name, zero string }{
		{"h", "toInt64(0)"}, {"t", "toInt64(0)"}, {"a", "toInt64(0)"}, {"s", "''"}, {"o", "toUInt64(0)"}, {"k", "toUInt64(0)"},
	} {
		expression := part.zero
		if given, has := parts[part.name]; has {
			expression = given
		}
		selected = append(selected, expression+" AS "+part.name)
	}
	return "SELECT " + strings.Join(selected, ", ") + ", count(), toUInt64(sum(" + c.rows.valueBytes() + ")) FROM " + c.rows.from() +
		" WHERE " + where + " GROUP BY h, t, a, s, o, k ORDER BY h, t, a, s, o, k"
}

const (
	hourOfArrival = "toInt64(toUnixTimestamp(toStartOfHour(inserted_at)))"
	microsecond   = "toUnixTimestamp64Micro(inserted_at)"
)

// eventsHistogram counts `events` by hour and team, then by arrival time and source, then by offsets. The empty source and
// time zero are before every row's.
type eventsHistogram struct{ counted }

func (h eventsHistogram) coarse(ctx context.Context) ([]cell, error) {
	return h.cells(ctx, h.by(h.rows.where(), map[string]string{"h": hourOfArrival, "t": "team_id"}))
}

func (h eventsHistogram) finer(ctx context.Context, depth int, large []cell, aim target) ([]cell, error) {
	var places []string
	switch depth {
	case 0:
		for _, cell := range large {
			places = append(places, fmt.Sprintf("(%s, %d)", hour(cell.at.Hour), cell.at.Team))
		}
		where := h.rows.where() + " AND (toStartOfHour(inserted_at), team_id) IN (" + strings.Join(places, ", ") + ")"
		return h.cells(ctx, h.by(where, map[string]string{"h": hourOfArrival, "t": "team_id", "a": microsecond, "s": "toString(source)"}))
	case 1:
		for _, cell := range large {
			places = append(places, fmt.Sprintf("(%s, %d, %s, %s)", hour(cell.at.Hour), cell.at.Team, instant(cell.at.Arrival), quoteText(cell.at.Source)))
		}
		where := h.rows.where() + " AND (toStartOfHour(inserted_at), team_id, inserted_at, source) IN (" + strings.Join(places, ", ") + ")"
		return h.cells(ctx, h.by(where, map[string]string{"h": hourOfArrival, "t": "team_id", "a": microsecond, "s": "toString(source)",
			"o": fmt.Sprintf("intDiv(source_offset, %[1]d) * %[1]d", offsetWidth(large, aim))}))
	}
	return nil, nil
}

// offsetWidth is how many offsets a cell of the last depth has. Rows of one block and team have different ones, so it has
// no more rows; an eighth of what a chunk may hold, so that chunks come out full.
func offsetWidth(large []cell, aim target) uint64 {
	width := uint64(math.MaxUint64)
	for _, cell := range large {
		width = min(width, fitting(cell, aim)/8)
	}
	return max(width, 1)
}

// fitting is how many of a cell's rows may be in a chunk, if they are all alike.
func fitting(c cell, aim target) uint64 {
	rows := aim.rows
	if c.bytes > aim.bytes {
		rows = min(rows, uint64(float64(c.rows)*float64(aim.bytes)/float64(c.bytes)))
	}
	return rows
}

// modelHistogram counts another model's rows by stretches of arrival time, ever shorter ones down to a microsecond, and
// then by the leading bits of the key's hash.
type modelHistogram struct{ counted }

const (
	// coarseStretches is at most how many stretches the interval is cut into first.
	coarseStretches = 4096
	// fineStretches is how many a stretch is cut into that is too large. Lengths are powers of two, so that they nest.
	fineStretches = 256
	// keyBits of the hash are added at each depth, up to maxKeyBits: rows that share those have one key, or nearly.
	keyBits, maxKeyBits = 8, 32
)

// stretch is how many microseconds a cell of a depth lasts, 1 at last; and how many bits of the key's hash its rows share.
func (h modelHistogram) stretch(depth int) (length int64, bits int) {
	length = 1
	for length*coarseStretches < h.rows.interval.Length().Microseconds() {
		length *= 2
	}
	for range depth {
		if length == 1 {
			bits += keyBits
		}
		length = max(1, length/fineStretches)
	}
	return length, bits
}

// place is where the cell of a depth begins that a row is in.
func (h modelHistogram) place(depth int) map[string]string {
	start := h.rows.interval.Start.UnixMicro()
	length, bits := h.stretch(depth)
	parts := map[string]string{
		"a": fmt.Sprintf("%[1]d + intDiv(toUnixTimestamp64Micro(toDateTime64(%[2]s, 6, 'UTC')) - %[1]d, %[3]d) * %[3]d", start, export.QuoteName(h.rows.model.Arrival), length),
	}
	if bits > 0 {
		parts["k"] = fmt.Sprintf("bitShiftLeft(bitShiftRight(%s, %[2]d), %[2]d)", h.rows.keyHash(), 64-bits)
	}
	return parts
}

func (h modelHistogram) coarse(ctx context.Context) ([]cell, error) {
	return h.cells(ctx, h.by(h.rows.where(), h.place(0)))
}

func (h modelHistogram) finer(ctx context.Context, depth int, large []cell, _ target) ([]cell, error) {
	length, bits := h.stretch(depth)
	if _, finer := h.stretch(depth + 1); finer > maxKeyBits {
		return nil, nil
	}
	arrival := export.QuoteName(h.rows.model.Arrival)
	var within []string
	for _, cell := range large {
		inside := fmt.Sprintf("%[1]s >= %[2]s AND %[1]s < %[3]s", arrival, instant(cell.at.Arrival), instant(cell.at.Arrival+length))
		if bits > 0 {
			inside += fmt.Sprintf(" AND bitShiftRight(%s, %d) = %d", h.rows.keyHash(), 64-bits, cell.at.Key>>(64-bits))
		}
		within = append(within, "("+inside+")")
	}
	where := h.rows.where() + " AND (" + strings.Join(within, " OR ") + ")"
	return h.cells(ctx, h.by(where, h.place(depth+1)))
}
