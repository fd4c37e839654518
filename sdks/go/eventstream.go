package marque

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxEvent is far more than any event of Marque has, in bytes.
const maxEvent = 64 << 10

// event is one event of a stream.
type event struct {
	id   string // "" where the event has none of its own
	name string
	data string
}

// eventReader reads a stream of events (WHATWG HTML, section 9.2.6). Its lines
// may come in pieces of any size and end in any of the three ways.
type eventReader struct {
	in    *bufio.Reader
	line  []byte
	crlf  bool // the last line ended with CR: a LF that follows belongs to it
	begun bool
	retry time.Duration // the last that the server asked for; 0 when it did not
}

func newEventReader(r io.Reader) *eventReader { return &eventReader{in: bufio.NewReader(r)} }

var errEventTooLong = errors.New("an event is longer than any of Marque's")

// next reads the next event. An event that the end of the stream cuts off is
// none: the error is then io.EOF, or what broke the connection.
func (r *eventReader) next() (event, error) {
	var e event
	var data []string
	size := 0
	for {
		line, err := r.readLine()
		if err != nil {
			return event{}, err
		}
		if size += len(line); size > maxEvent {
			return event{}, errEventTooLong
		}
		if line == "" {
			if data == nil && e.name == "" {
				e = event{} // nothing but comments and settings
				size = 0
				continue
			}
			e.data = strings.Join(data, "\n")
			return e, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.name = value
		case "data":
			data = append(data, value)
		case "id":
			e.id = value
		case "retry":
			if ms, err := strconv.ParseUint(value, 10, 31); err == nil {
				r.retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
}

func (r *eventReader) readLine() (string, error) {
	r.line = r.line[:0]
	for {
		c, err := r.in.ReadByte()
		if err != nil {
			return "", err
		}
		after := r.crlf
		r.crlf = c == '\r'
		switch {
		case c == '\n' && after:
		case c == '\n', c == '\r':
			line := string(r.line)
			if !r.begun {
				r.begun, line = true, strings.TrimPrefix(line, "\ufeff")
			}
			return line, nil
		case len(r.line) == maxEvent:
			return "", errEventTooLong
		default:
			r.line = append(r.line, c)
		}
	}
}
