package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Progress tells people what happens, one line at a time, with the time since the demo was called.
type Progress struct {
	mu    sync.Mutex
	out   io.Writer
	began time.Time
}

// Say writes a line.
func (p *Progress) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "demo %5s  %s\n", minutesSeconds(time.Since(p.began)), fmt.Sprintf(format, args...))
}

// minutesSeconds writes a duration as 2:05.
func minutesSeconds(d time.Duration) string {
	seconds := int(d.Round(time.Second) / time.Second)
	return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
}

// commas writes a number as 200,006.
func commas[N int | int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// size writes bytes as 3.1 MiB.
func size(bytes int64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%d B", bytes)
	}
	amount, unit := float64(bytes)/1024, 0
	for amount >= 1024 && unit < 3 {
		amount, unit = amount/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", amount, "KMGT"[unit])
}

// plural writes "1 run", "2 runs".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return commas(n) + " " + word + "s"
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

func clocks(times []time.Time) string {
	var texts []string
	for _, t := range times {
		texts = append(texts, t.Add(-time.Minute).UTC().Format("15:04")+"–"+t.UTC().Format("15:04"))
	}
	return strings.Join(texts, ", ")
}
