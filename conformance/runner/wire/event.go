package wire

import (
	"bufio"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

const eventStream = "text/event-stream"

// IsStream tells whether a response is a stream of server-sent events.
func IsStream(header http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && mediaType == eventStream
}

// Event is one server-sent event, or a comment: Name is empty then.
type Event struct {
	ID, Name, Data string
	Text           []byte // as it was sent, with the empty line behind it
}

// ReadEvent reads up to the next empty line. With an error, Text is what came
// before it.
func ReadEvent(r *bufio.Reader) (e Event, err error) {
	for {
		line, err := r.ReadString('\n')
		e.Text = append(e.Text, line...)
		line = strings.TrimRight(line, "\r\n")
		if err != nil || line == "" {
			return e, err
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.ID = value
		case "event":
			e.Name = value
		case "data":
			if e.Data != "" {
				e.Data += "\n"
			}
			e.Data += value
		}
	}
}

// Stream tells in which ways the beginning of a stream is not what the contract
// says.
func (c *Checked) Stream(status int, header http.Header) (violations []string) {
	if c.input == nil {
		return nil
	}
	if header.Get("X-Request-Id") == "" {
		violations = append(violations, "the response has no X-Request-Id")
	}
	response := c.input.Route.Operation.Responses.Status(status)
	if response == nil || response.Value.Content[eventStream] == nil {
		return append(violations, fmt.Sprintf("the contract has no stream of events with status %d", status))
	}
	c.events = response.Value.Content[eventStream].Schema.Value
	return violations
}

// Event tells in which ways an event is not what the contract says: the schema of
// a stream has a member for each, which describes its data.
func (c *Checked) Event(e *Event) []string {
	if c.events == nil || e.Name == "" && e.Data == "" {
		return nil
	}
	schema := c.events.Properties[e.Name]
	if schema == nil {
		return []string{"the contract has no event " + e.Name}
	}
	var data any
	if err := json.Unmarshal([]byte(e.Data), &data); err != nil {
		return []string{"event " + e.Name + ": " + err.Error()}
	}
	if err := schema.Value.VisitJSON(data, openapi3.VisitAsResponse(), openapi3.MultiErrors(), openapi3.EnableFormatValidation()); err != nil {
		return []string{"event " + e.Name + ": " + brief(err)}
	}
	return nil
}
