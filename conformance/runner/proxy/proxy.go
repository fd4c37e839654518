// Package proxy stands between an SDK and a real server: it ends TLS, records
// each exchange, checks it against the contract and passes it on unchanged.
package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/marque-id/marque/conformance/runner/wire"
)

// Proxy listens from New on. The server behind it must have the proxy's URL as
// its issuer, so that what stands in tokens and metadata is what clients see;
// so the proxy is made first and told by Forward where the server is.
type Proxy struct {
	URL string

	contract *wire.Contract
	server   *http.Server
	target   atomic.Pointer[target]
	log      atomic.Pointer[wire.Log]
}

type target struct {
	url    *url.URL
	config *tls.Config
	client *http.Client
}

// New listens on a port of its own.
func New(authority *wire.Authority, contract *wire.Contract) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{URL: fmt.Sprintf("https://localhost:%d", listener.Addr().(*net.TCPAddr).Port), contract: contract}
	p.Record(&wire.Log{})
	p.server = &http.Server{Handler: p, TLSConfig: authority.TLS.Clone(), ErrorLog: wire.Quiet(), MaxHeaderBytes: 1 << 20}
	go func() { _ = p.server.Serve(tls.NewListener(listener, p.server.TLSConfig)) }()
	return p, nil
}

// Forward passes what comes to the server at the given URL.
func (p *Proxy) Forward(server string, config *tls.Config) error {
	to, err := url.Parse(server)
	if err != nil {
		return err
	}
	p.target.Store(&target{to, config, &http.Client{
		Transport:     &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 64, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}})
	return nil
}

// Record makes log the one that exchanges are recorded in.
func (p *Proxy) Record(log *wire.Log) { p.log.Store(log) }

// Close closes the listener and all connections.
func (p *Proxy) Close() { _ = p.server.Close() }

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	log, to := p.log.Load(), p.target.Load()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	checked := p.contract.Request(r.Method, r.URL, r.Header, body)
	e := log.Begin(&wire.Exchange{
		Operation: checked.Operation, Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
		Header: r.Header.Clone(), Body: body, BadRequest: checked.BadRequest,
	})
	response, err := to.pass(r, body)
	if err == nil && wire.IsStream(response.Header) {
		stream(w, response, checked, func(fill func(*wire.Exchange)) { log.End(e, fill) })
		return
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
	}
	if err != nil {
		log.End(e, func(e *wire.Exchange) { e.Note = "the server did not answer: " + err.Error() })
		panic(http.ErrAbortHandler) // the client sees what the proxy saw: no answer
	}
	violations := checked.Response(response.StatusCode, response.Header, text)
	log.End(e, func(e *wire.Exchange) {
		e.Status, e.ResponseHeader, e.ResponseBody, e.Violations = response.StatusCode, response.Header, text, violations
	})
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(text)
}

func (t *target) pass(r *http.Request, body []byte) (*http.Response, error) {
	// The target as it was written: what the client escaped stays escaped.
	u := *t.url
	u.Path, u.RawPath, u.RawQuery = r.URL.Path, r.URL.RawPath, r.URL.RawQuery
	request, err := http.NewRequestWithContext(r.Context(), r.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		request.Body = http.NoBody
	}
	for name, values := range r.Header {
		if !strings.EqualFold(name, "Connection") {
			request.Header[name] = values
		}
	}
	if r.Header.Get("User-Agent") == "" {
		request.Header["User-Agent"] = nil
	}
	do := t.client.Do
	if large := 10 << 10; len(body) > large || size(request.Header) > large {
		do = t.patient
	}
	return do(request)
}

func size(h http.Header) (n int) {
	for name, values := range h {
		n += len(name) + len(strings.Join(values, ""))
	}
	return n
}

// patient sends a request that the server may refuse before it has read it all.
// net/http would give up when the rest cannot be written any more, though the
// answer is there to be read.
func (t *target) patient(request *http.Request) (*http.Response, error) {
	connection, err := tls.Dial("tcp", request.URL.Host, t.config)
	if err != nil {
		return nil, err
	}
	_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
	request.Close = true
	go func() { _ = request.Write(connection) }()
	response, err := http.ReadResponse(bufio.NewReader(connection), request)
	if err != nil {
		_ = connection.Close()
		return nil, err
	}
	text, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(text))
	_ = connection.Close()
	return response, err
}
