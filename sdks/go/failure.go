package marque

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// classify turns the error of a request that got no answer into one that says
// what to do.
func classify(err error, root string, timeout time.Duration) *Error {
	e := &Error{Kind: KindConnection, Retryable: true, cause: err}
	var (
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		invalid     x509.CertificateInvalidError
		record      tls.RecordHeaderError
		certificate *tls.CertificateVerificationError
		alert       tls.AlertError
		dns         *net.DNSError
		network     net.Error
	)
	switch {
	case errors.As(err, &authority):
		e.tls("the certificate of %s was issued by an authority that is not trusted here: set CAFile or MARQUE_CA_FILE to the PEM file of that authority", root)
	case errors.As(err, &hostname):
		e.tls("the certificate is not for the host of %s: set the issuer to a name that is in the certificate", root)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.tls("the certificate of %s is expired or not yet valid by this machine's clock: check that clock, then the certificate", root)
	case errors.As(err, &invalid), errors.As(err, &certificate):
		e.tls("the certificate of %s cannot be accepted: %v", root, innermost(err))
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.tls("%s does not speak TLS on this port: look at host and port of the issuer", root)
	case errors.As(err, &alert):
		e.tls("the TLS handshake with %s failed: %v", root, alert)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		e.Kind = KindTimeout
		e.Detail = fmt.Sprintf("%s did not answer within %v", root, timeout)
	case errors.As(err, &dns):
		e.Detail = fmt.Sprintf("the host of %s cannot be found: look at the issuer", root)
	default:
		e.Detail = fmt.Sprintf("%s cannot be reached: %v", root, innermost(err))
	}
	return e
}

func (e *Error) tls(format string, args ...any) {
	e.Kind, e.Retryable, e.Detail = KindTLS, false, fmt.Sprintf(format, args...)
}

// innermost leaves out what net/http puts around an error: method and URL, which
// the error of the call has already.
func innermost(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// asError is err as an Error; what is none came from a custom credential.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		copied := *e
		return &copied
	}
	return &Error{Kind: KindConfiguration, Detail: "the credential cannot be used", cause: err}
}

// scrub takes out of an answer what only the request may hold, in case that a
// server repeats it: errors end in logs.
func (e *Error) scrub(authorization string, form url.Values, body []byte) {
	var secrets []string
	if _, value, ok := strings.Cut(authorization, " "); ok {
		secrets = append(secrets, value)
		if pair, err := base64.StdEncoding.DecodeString(value); err == nil {
			if _, password, ok := strings.Cut(string(pair), ":"); ok {
				plain, _ := url.QueryUnescape(password)
				secrets = append(secrets, password, plain)
			}
		}
	}
	for _, name := range [...]string{"client_secret", "token"} {
		secrets = append(secrets, form.Get(name))
	}
	var login struct {
		APIKey string `json:"api_key"`
	}
	if json.Unmarshal(body, &login) == nil { // a body that is none has no API key in it
		secrets = append(secrets, login.APIKey)
	}
	var pairs []string
	for _, secret := range secrets {
		if len(secret) >= 8 { // less is no secret, and would be found everywhere
			pairs = append(pairs, secret, masked)
		}
	}
	if len(pairs) == 0 {
		return
	}
	clean := strings.NewReplacer(pairs...).Replace
	e.Detail, e.Body = clean(e.Detail), []byte(clean(string(e.Body)))
	e.Code, e.Permission, e.RequestID = ErrorCode(clean(string(e.Code))), clean(e.Permission), clean(e.RequestID)
	e.IssuedID = clean(e.IssuedID)
	for i, f := range e.Fields {
		e.Fields[i] = FieldError{Pointer: clean(f.Pointer), Detail: clean(f.Detail)}
	}
	if e.InUse != nil {
		for i, item := range e.InUse.Items {
			e.InUse.Items[i] = InUseItem{Kind: clean(item.Kind), ID: clean(item.ID), Name: clean(item.Name)}
		}
	}
	header := make(http.Header, len(e.Header))
	for name, values := range e.Header {
		for _, value := range values {
			header[name] = append(header[name], clean(value))
		}
	}
	e.Header = header
}
