// Package protocol speaks with a driver: it starts the program, sends requests,
// reads answers and checks both against protocol.json.
package protocol

import (
	"encoding/json"
	"fmt"
)

// Request is one operation with its members, as protocol.json has them.
type Request map[string]any

// Op is the operation's name.
func (r Request) Op() string {
	op, _ := r["op"].(string)
	return op
}

// Answer is what a driver says to a request: exactly one of OK, Err,
// Unsupported and Fault is there.
type Answer struct {
	OK          json.RawMessage `json:"ok,omitempty"`
	Err         *Err            `json:"err,omitempty"`
	Unsupported string          `json:"unsupported,omitempty"`
	Fault       string          `json:"fault,omitempty"`
	Slept       []float64       `json:"slept,omitempty"`
}

// Err is an error of an SDK. Its members are pointers where absence is told.
type Err struct {
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

// Object is the OK of an answer, decoded.
func (a Answer) Object() (map[string]any, error) {
	var object map[string]any
	if err := json.Unmarshal(a.OK, &object); err != nil {
		return nil, fmt.Errorf("the ok of an answer: %w", err)
	}
	return object, nil
}

// Answers are those of a parallel operation.
func (a Answer) Answers() ([]Answer, error) {
	var ok struct {
		Answers []Answer `json:"answers"`
	}
	return ok.Answers, json.Unmarshal(a.OK, &ok)
}

// checkResult checks the ok of an answer to an operation, and those inside it.
// What was started is answered by await, and only its driver knows what it was.
func checkResult(request Request, a Answer) error {
	if a.OK == nil || request.Op() == "await" {
		return nil
	}
	if err := check("results/"+request.Op(), a.OK); err != nil {
		return err
	}
	run, _ := request["run"].(Request)
	if request.Op() != "parallel" || run == nil {
		return nil
	}
	answers, err := a.Answers()
	if err != nil {
		return err
	}
	for _, answer := range answers {
		if err := checkResult(run, answer); err != nil {
			return err
		}
	}
	return nil
}
