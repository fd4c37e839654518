package mock

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Piece is a piece of a stream of server-sent events. Exactly one of the first
// block is there, Event with ID and Data.
type Piece struct {
	Hello string `yaml:"hello"` // the beginning of a feed of revocations, at this position
	Beat  string `yaml:"beat"`  // its heartbeat
	Event string `yaml:"event"` // by its name
	Text  string `yaml:"text"`  // as it stands
	Hold  string `yaml:"hold"`  // nothing before this is released
	Stay  bool   `yaml:"stay"`  // say nothing more and keep the connection
	Drop  bool   `yaml:"drop"`  // cut the connection

	ID   string `yaml:"id"`
	Data any    `yaml:"data"`
}

// stream sends the pieces. A stream of whole pieces ends in good order.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, pieces []Piece) {
	flush := http.NewResponseController(w)
	for i := range pieces {
		p := &pieces[i]
		switch {
		case p.Hold != "":
			if !s.wait(r.Context(), p.Hold) {
				panic(http.ErrAbortHandler)
			}
			continue
		case p.Stay:
			select {
			case <-r.Context().Done():
			case <-s.ended.Done():
			}
			panic(http.ErrAbortHandler)
		case p.Drop:
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(p.text()); err != nil || flush.Flush() != nil {
			return // the client went away
		}
	}
}

func (p *Piece) text() []byte {
	type object = map[string]any
	switch {
	case p.Text != "":
		return []byte(p.Text)
	case p.Hello != "":
		return append([]byte("retry: 700\n"), event(p.Hello, "hello", object{"position": p.Hello, "heartbeat": 5, "retry": 700})...)
	case p.Beat != "":
		return event(p.Beat, "heartbeat", object{"position": p.Beat})
	default:
		return event(p.ID, p.Event, p.Data)
	}
}

func event(id, name string, data any) (text []byte) {
	if id != "" {
		text = fmt.Appendf(text, "id: %s\n", id)
	}
	body, err := json.Marshal(data)
	if err != nil { // what comes out of YAML can be written as JSON
		panic(err)
	}
	return fmt.Appendf(text, "event: %s\ndata: %s\n\n", name, body)
}
