// Package telemetry tells operators what goes on: the logger, one line for each
// answered request, and the metrics. Records are one line each; what is secret
// is masked by its own type, never here.
package telemetry

import (
	"io"
	"log/slog"
)

// The forms of a time.
const (
	layoutJSON = "2006-01-02T15:04:05.000Z07:00"
	layoutText = "15:04:05.000"
)

// Logger makes a logger that writes to w, as "json" or as "text". Times are
// UTC; the text form is meant for eyes and shows the time of day alone.
func Logger(w io.Writer, level slog.Level, format string) *slog.Logger {
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: timeAs(layoutText)}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: timeAs(layoutJSON)}))
}

func timeAs(layout string) func([]string, slog.Attr) slog.Attr {
	return func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.String(slog.TimeKey, a.Value.Time().UTC().Format(layout))
		}
		return a
	}
}
