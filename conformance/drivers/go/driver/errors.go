package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"

	marque "github.com/marque-id/marque/sdks/go"
)

// Refusal is an error of the SDK.
type Refusal struct {
	Kind       string   `json:"kind"`
	Code       string   `json:"code,omitempty"`
	Status     int      `json:"status,omitempty"`
	RequestID  string   `json:"request_id,omitempty"`
	IssuedID   string   `json:"issued_id,omitempty"`
	Retryable  bool     `json:"retryable"`
	RetryAfter *float64 `json:"retry_after,omitempty"`
	InUse      any      `json:"in_use,omitempty"`
	Text       string   `json:"text"`
}

// refused tells an error by its public type. Any other error is a fault of the
// SDK, unless it comes from net/http by way of the client for other APIs.
func refused(err error) Answer {
	refusal := &Refusal{Text: printed(err)}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		refusal.Text += printed(cause)
	}
	var network net.Error
	if e, is := errors.AsType[*marque.TokenError](err); is {
		refusal.Kind, refusal.Code, refusal.Status = "verification", string(e.Reason), e.Status()
		switch e.Reason {
		case marque.ReasonKeyFetch, marque.ReasonStale:
			refusal.Kind, refusal.Code, refusal.Retryable = string(e.Reason), "", true
		}
	} else if e, is := errors.AsType[*marque.Error](err); is {
		refusal.Kind, refusal.Code, refusal.Status = string(e.Kind), string(e.Code), e.Status
		refusal.RequestID, refusal.IssuedID, refusal.Retryable = e.RequestID, e.IssuedID, e.Retryable
		if e.InUse != nil {
			items := make([]object, len(e.InUse.Items))
			for i, item := range e.InUse.Items {
				items[i] = object{"kind": item.Kind, "id": item.ID, "name": item.Name}
			}
			refusal.InUse = object{"count": e.InUse.Count, "items": items}
		}
		if e.RetryAfter > 0 {
			after := e.RetryAfter.Seconds()
			refusal.RetryAfter = &after
		}
	} else if errors.Is(err, context.Canceled) {
		refusal.Kind = "canceled"
	} else if errors.As(err, &network) {
		refusal.Kind, refusal.Retryable = "connection", true
		if network.Timeout() {
			refusal.Kind = "timeout"
		}
	} else {
		return fault("an error of no public type: %T: %v", err, err)
	}
	return Answer{Err: refusal}
}

// printed is every form in which a program may print a value by accident.
func printed(value any) string {
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("it", "value", value)
	text, _ := json.Marshal(value)
	return fmt.Sprintf("%v\n%+v\n%#v\n%s\n%s", value, value, value, text, log.String())
}
