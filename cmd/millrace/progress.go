package main

import (
	"fmt"
	"sync"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/telemetry"
)

// progressBoard shows on standard error how followed runs stand: one line that changes on a terminal, and elsewhere a
// line for each step that a run takes. Its methods may be called from any goroutine.
type progressBoard struct {
	p     *program
	width int // of the terminal; 0 where there is none
	total int

	mu       sync.Mutex
	finished int
	steps    map[string]string // by interval, what was printed last
}

func newProgressBoard(p *program, total int) *progressBoard {
	return &progressBoard{p: p, width: telemetry.Columns(p.err), total: total, steps: map[string]string{}}
}

// tell makes the function that takes the progress of one run.
func (b *progressBoard) tell(interval export.Interval) func(export.Progress) {
	return func(progress export.Progress) {
		text := progress.Step
		if progress.Chunks > 0 {
			text += fmt.Sprintf(" %d/%d chunks, %s of %s rows, %s", progress.ChunksDone, progress.Chunks,
				count(progress.RowsDone), count(progress.Rows), size(progress.BytesDone))
		}
		b.print(interval, text)
	}
}

func (b *progressBoard) done(interval export.Interval, status string) {
	b.mu.Lock()
	b.finished++
	b.mu.Unlock()
	b.print(interval, status)
}

func (b *progressBoard) print(interval export.Interval, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.p.json || b.steps[interval.Key()] == text {
		return
	}
	b.steps[interval.Key()] = text
	if b.width > 0 {
		fmt.Fprintf(b.p.err, "\r\x1b[K%s", cut(fmt.Sprintf("%d/%d done · %s · %s", b.finished, b.total, interval, text), b.width))
		return
	}
	fmt.Fprintf(b.p.err, "%s %s\n", interval, text)
}

// close leaves the line behind.
func (b *progressBoard) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.width > 0 && len(b.steps) > 0 && !b.p.json {
		fmt.Fprint(b.p.err, "\r\x1b[K")
	}
}
