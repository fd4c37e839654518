package proxy

import (
	"bufio"
	"net/http"

	"github.com/marque-id/marque/conformance/runner/wire"
)

// stream passes server-sent events on as they come, each checked against the
// contract, until either side goes away.
func stream(w http.ResponseWriter, response *http.Response, checked *wire.Checked, record func(func(*wire.Exchange))) {
	defer func() { _ = response.Body.Close() }()
	violations := checked.Stream(response.StatusCode, response.Header)
	record(func(e *wire.Exchange) {
		e.Status, e.ResponseHeader, e.Stream, e.Violations = response.StatusCode, response.Header, true, violations
	})
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	flush := http.NewResponseController(w)
	for from := bufio.NewReader(response.Body); ; {
		event, err := wire.ReadEvent(from)
		violations := checked.Event(&event)
		record(func(e *wire.Exchange) {
			e.ResponseBody, e.Violations = append(e.ResponseBody, event.Text...), append(e.Violations, violations...)
		})
		if _, failed := w.Write(event.Text); failed != nil || flush.Flush() != nil || err != nil {
			return
		}
	}
}
