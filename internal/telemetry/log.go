// Package telemetry is how a process of Millrace tells what it does: logs, metrics, and which build it is. None of it
// ever holds a secret.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// NewLogger logs to w from level on: as text for eyes when w is a terminal, and otherwise as JSON, an object a line,
// with times in UTC and durations as "1.5s".
func NewLogger(w io.Writer, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if IsTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	options.ReplaceAttr = func(groups []string, attribute slog.Attr) slog.Attr {
		switch {
		case attribute.Value.Kind() == slog.KindDuration:
			attribute.Value = slog.StringValue(attribute.Value.Duration().String())
		case len(groups) == 0 && attribute.Key == slog.TimeKey:
			attribute.Value = slog.TimeValue(attribute.Value.Time().UTC())
		}
		return attribute
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// ParseLevel reads debug, info, warn or error.
func ParseLevel(text string) (slog.Level, error) {
	var level slog.Level
	switch text {
	case "debug", "info", "warn", "error":
		return level, level.UnmarshalText([]byte(text))
	}
	return level, fmt.Errorf("log level %q is unknown: use debug, info, warn or error", text)
}

// unknownWidth is taken for a terminal that does not say how wide it is.
const unknownWidth = 80

// Columns is how many letters a line of w has room for where people read what is written to it, and 0 where nobody does:
// in a file or a pipe nothing has to fit.
func Columns(w io.Writer) int {
	if !IsTerminal(w) {
		return 0
	}
	width, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil || width <= 0 {
		return unknownWidth
	}
	return width
}

// IsTerminal tells whether people read what is written to w as it is written.
func IsTerminal(w io.Writer) bool {
	file, isFile := w.(*os.File)
	if !isFile || file.Name() == os.DevNull {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
