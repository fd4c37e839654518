package telemetry

import (
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Request is what is told of an answered request. None of it is text of a
// caller's making, and none of it is secret.
type Request struct {
	Operation string // operationId; "" when no route has matched
	Status    int
	Code      string // of a refusal: the code in the answer
	At        time.Time
	Took      time.Duration
	RequestID string
	ClientID  string // once it is proved
	Address   netip.Addr
	TraceID   string
}

// unmatched is the operation of requests that are none.
const unmatched = "unmatched"

func (r *Request) operation() string {
	if r.Operation == "" {
		return unmatched
	}
	return r.Operation
}

// RequestLog writes one line for each answered request. nil writes nothing.
type RequestLog struct {
	out   *Output
	from  int // the lowest status that gets a line
	style style
	clock secondHand
}

// NewRequestLog makes a log in the format of [Logger] for which requests: "all",
// "errors" or "none". The lines have level info, and warn when we failed.
func NewRequestLog(out *Output, level slog.Level, format, which string) *RequestLog {
	l := &RequestLog{out: out, style: jsonStyle()}
	if format == "text" {
		l.style = textStyle()
	}
	switch {
	case which == "none" || level > slog.LevelWarn:
		return nil
	case level > slog.LevelInfo:
		l.from = 500
	case which == "errors":
		l.from = 400
	}
	return l
}

// style is how a record is put together. A hand-made line costs a tenth of one
// made by slog, and needs no escapes: every value is of a safe alphabet.
type style struct {
	begin, level, name, value, text, end string
	layout                               string
}

func jsonStyle() style {
	return style{begin: `{"time":"`, level: `","level":"`, name: `,"`, value: `":`, text: `"`, end: "}\n", layout: layoutJSON}
}

func textStyle() style {
	return style{begin: "time=", level: " level=", name: " ", value: "=", end: "\n", layout: layoutText}
}

// write writes the line of a request.
func (l *RequestLog) write(r *Request) {
	if l == nil || r.Status < l.from {
		return
	}
	var space [512]byte
	s := &l.style
	b := append(space[:0], s.begin...)
	b = l.clock.append(b, r.At, s.layout)
	b = append(b, s.level...)
	if r.Status >= 500 {
		b = append(b, "WARN"...)
	} else {
		b = append(b, "INFO"...)
	}
	b = append(b, s.text...)
	b = s.add(b, "msg", "request")
	b = s.add(b, "operation", r.operation())
	b = strconv.AppendInt(s.key(b, "status"), int64(r.Status), 10)
	b = s.add(b, "code", r.Code)
	b = milliseconds(s.key(b, "duration_ms"), r.Took)
	b = s.add(b, "request_id", r.RequestID)
	b = s.add(b, "client_id", r.ClientID)
	if r.Address.IsValid() {
		b = append(s.key(b, "address"), s.text...)
		b = append(r.Address.WithZone("").AppendTo(b), s.text...)
	}
	b = s.add(b, "trace_id", r.TraceID)
	l.out.Append(append(b, s.end...))
}

// secondHand formats times. All of a second have the same text but for their
// milliseconds.
type secondHand struct{ last atomic.Pointer[second] }

type second struct {
	unix         int64
	before, from string // the milliseconds
}

func (h *secondHand) append(b []byte, at time.Time, layout string) []byte {
	s := h.last.Load()
	if unix := at.Unix(); s == nil || s.unix != unix {
		before, from, _ := strings.Cut(at.UTC().Truncate(time.Second).Format(layout), ".000")
		s = &second{unix, before, from}
		h.last.Store(s)
	}
	millis := at.Nanosecond() / int(time.Millisecond)
	b = append(append(b, s.before...), '.', '0'+byte(millis/100), '0'+byte(millis/10%10), '0'+byte(millis%10))
	return append(b, s.from...)
}

func (s *style) key(b []byte, name string) []byte {
	b = append(b, s.name...)
	b = append(b, name...)
	return append(b, s.value...)
}

// milliseconds appends a duration with three decimals.
func milliseconds(b []byte, d time.Duration) []byte {
	micros := d.Microseconds()
	b = append(strconv.AppendInt(b, micros/1000, 10), '.')
	return append(b, '0'+byte(micros/100%10), '0'+byte(micros/10%10), '0'+byte(micros%10))
}

// add adds a text, unless it is empty.
func (s *style) add(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(s.key(b, name), s.text...)
	b = append(b, value...)
	return append(b, s.text...)
}
