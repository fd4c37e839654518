package marque

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The longest answers that are read, in bytes.
const (
	maxOAuthAnswer = 1 << 20
	maxAnswer      = 8 << 20
)

// answer is a response whose body has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
	asked  time.Time // when the request was begun
}

// readAnswer reads a response to its end. Anything but a 2xx is an error too.
func readAnswer(response *http.Response, limit int64, timeout time.Duration) (*answer, *Error) {
	a := &answer{status: response.StatusCode, header: response.Header}
	var err error
	a.body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		e := a.problem(KindTimeout, fmt.Sprintf("the answer did not end within %v", timeout))
		e.Retryable, e.cause = true, err
		return nil, e
	case err != nil:
		e := a.problem(KindProtocol, "the answer is cut off")
		e.Retryable, e.cause = true, err
		return nil, e
	case int64(len(a.body)) > limit:
		return nil, a.problem(KindProtocol, fmt.Sprintf("the answer is longer than %d bytes: this is not Marque", limit))
	case a.status/100 == 2:
		return a, nil
	case a.status/100 == 3:
		return a, a.redirected()
	default:
		return a, a.refusal()
	}
}

// problem is an error about the answer as such. It has no body: what is no
// answer of Marque's may hold anything, and a good one that was cut off a secret.
func (a *answer) problem(kind Kind, detail string) *Error {
	return &Error{
		Kind: kind, Status: a.status, Detail: detail, Header: a.header,
		RequestID: a.header.Get("X-Request-Id"),
	}
}

func (a *answer) redirected() *Error {
	detail := "the server redirects, which Marque never does"
	if to := a.header.Get("Location"); to != "" {
		detail += ", to " + strconv.Quote(to)
	}
	return a.problem(KindProtocol, detail+": set the issuer to the server's own URL, and look for a proxy or a login page in between")
}

// mediaType is the media type of the answer, in lower case.
func (a *answer) mediaType() string {
	media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	return media
}

func (a *answer) isJSON() bool {
	media := a.mediaType()
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// refusal reads problem details (RFC 9457) or an OAuth error (RFC 6749 section
// 5.2), whichever it is.
func (a *answer) refusal() *Error {
	e := a.problem(KindAPI, "")
	e.Body = a.body
	e.Retryable = a.status == http.StatusTooManyRequests || a.status >= 500
	e.RetryAfter = retryAfter(a.header.Get("Retry-After"), a.header.Get("Date"))
	var said struct {
		Title       string       `json:"title"`
		Code        ErrorCode    `json:"code"`
		Detail      string       `json:"detail"`
		RequestID   string       `json:"request_id"`
		Permission  string       `json:"permission"`
		ID          string       `json:"id"`
		Errors      []FieldError `json:"errors"`
		InUse       *InUse       `json:"in_use"`
		OAuth       ErrorCode    `json:"error"`
		Description string       `json:"error_description"`
	}
	switch {
	case a.isJSON() && json.Unmarshal(a.body, &said) == nil:
		e.Code, e.Detail, e.Permission, e.IssuedID, e.Fields, e.InUse = said.Code, said.Detail, said.Permission, said.ID, said.Errors, said.InUse
		// The first attempt is still running: its answer can be had in a moment.
		e.Retryable = e.Retryable || e.Code == ErrorCodeIdempotencyKeyInProgress
		if e.Code == "" {
			e.Code = said.OAuth
		}
		for _, text := range [...]string{said.Description, said.Title} {
			if e.Detail == "" {
				e.Detail = text
			}
		}
		if e.RequestID == "" {
			e.RequestID = said.RequestID
		}
	case a.mediaType() == "text/html":
		e.Kind = KindProtocol
		e.Detail = "the answer is a web page instead of JSON: look whether the issuer is right, and for a proxy in between"
	}
	if e.Detail == "" {
		e.Detail = http.StatusText(a.status)
	}
	return e
}

// decode reads the body of a 2xx answer into out, unless out is nil.
func (a *answer) decode(op *operation, out any) error {
	if out == nil {
		return nil
	}
	var e *Error
	switch {
	case !a.isJSON():
		media := a.mediaType()
		if media == "" {
			media = "something without a content type"
		}
		e = a.problem(KindProtocol, "the answer is "+media+" instead of JSON: look whether the issuer is right, and for a proxy in between")
	default:
		err := json.Unmarshal(a.body, out)
		if err == nil {
			return nil
		}
		// The error of the decoder may quote the body, which may hold a secret.
		e = a.problem(KindProtocol, "the answer is not the JSON that this operation answers with")
	}
	e.Operation = op.id
	return e
}

// retryAfter reads a Retry-After (RFC 9110 section 10.2.3): seconds, or a date,
// which counts from the server's own Date so that clocks need not agree.
func retryAfter(value, date string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err1 := http.ParseTime(value)
	now, err2 := http.ParseTime(date)
	if err1 != nil || err2 != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}
