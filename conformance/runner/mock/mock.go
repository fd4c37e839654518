// Package mock is an issuer that answers by a script, and misbehaves when told.
package mock

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/marque-id/marque/conformance/runner/wire"
)

// Script has the replies to each route, such as "POST /oauth2/token".
type Script map[string]Replies

// Replies are given one after the other; Always is given when they are used up.
type Replies struct {
	List   []Reply
	Always *Reply
}

// Server is a running mock.
type Server struct {
	URL string
	Log *wire.Log

	server *http.Server
	keys   Keys
	ended  context.Context
	end    context.CancelFunc

	mu         sync.Mutex
	script     Script
	held       map[string]chan struct{}
	unexpected []string
}

// Keys are what a mock publishes.
type Keys interface {
	JWKS(names []string) ([]byte, error)
}

// Start listens on a port of its own.
func Start(authority *wire.Authority, keys Keys, log *wire.Log) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{
		URL: fmt.Sprintf("https://localhost:%d", listener.Addr().(*net.TCPAddr).Port), Log: log,
		keys: keys, script: Script{}, held: map[string]chan struct{}{},
	}
	s.ended, s.end = context.WithCancel(context.Background())
	s.server = &http.Server{Handler: s, ErrorLog: wire.Quiet(), MaxHeaderBytes: 1 << 20}
	go func() { _ = s.server.Serve(tls.NewListener(listener, authority.TLS.Clone())) }()
	return s, nil
}

// Play takes the script from here on; routes that it does not name stay as they are.
func (s *Server) Play(script Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for route, replies := range script {
		s.script[route] = replies
	}
}

// Release lets replies go on that are held under a name, now and later.
func (s *Server) Release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.gate(name))
}

// gate is called with mu held.
func (s *Server) gate(name string) chan struct{} {
	if s.held[name] == nil {
		s.held[name] = make(chan struct{})
	}
	return s.held[name]
}

// Unexpected are requests that the script has no reply to.
func (s *Server) Unexpected() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unexpected
}

// Close ends everything, hanging requests included.
func (s *Server) Close() {
	s.end()
	_ = s.server.Close()
}

func (s *Server) next(route string) (Reply, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	replies, known := s.script[route]
	switch {
	case known && len(replies.List) > 0:
		reply := replies.List[0]
		replies.List = replies.List[1:]
		s.script[route] = replies
		return reply, true
	case known && replies.Always != nil:
		return *replies.Always, true
	}
	s.unexpected = append(s.unexpected, route)
	return Reply{}, false
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	e := &wire.Exchange{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: body}
	reply, known := s.next(e.Route())
	s.Log.Begin(e)
	if !known {
		reply = Reply{Status: http.StatusTeapot, Body: "the script has no reply to " + e.Route()}
	}
	if reply.Hold != "" && !s.wait(r.Context(), reply.Hold) {
		s.Log.End(e, func(e *wire.Exchange) { e.Note = "the client went away while the reply was held" })
		return
	}
	switch {
	case reply.Drop:
		s.Log.End(e, func(e *wire.Exchange) { e.Note = "connection cut" })
		panic(http.ErrAbortHandler)
	case reply.Hang:
		s.Log.End(e, func(e *wire.Exchange) { e.Note = "no answer, ever" })
		select {
		case <-r.Context().Done():
		case <-s.ended.Done():
		}
		panic(http.ErrAbortHandler)
	}
	header, text, err := reply.render(s)
	if err != nil {
		header, text, reply.Status = http.Header{}, []byte(err.Error()), http.StatusTeapot
		s.mu.Lock()
		s.unexpected = append(s.unexpected, e.Route()+": "+err.Error())
		s.mu.Unlock()
	}
	s.Log.End(e, func(e *wire.Exchange) { e.Status, e.ResponseHeader, e.ResponseBody = reply.status(), header, text })
	for name, values := range header {
		w.Header()[name] = values
	}
	if reply.Truncate {
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		text = text[:len(text)/2]
	}
	w.WriteHeader(reply.status())
	if reply.Stream != nil {
		s.stream(w, r, reply.Stream)
		return
	}
	_, _ = w.Write(text)
	if reply.Truncate {
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) wait(ctx context.Context, name string) bool {
	s.mu.Lock()
	gate := s.gate(name)
	s.mu.Unlock()
	select {
	case <-gate:
		return true
	case <-ctx.Done():
		return false
	case <-s.ended.Done():
		return false
	}
}

// expand puts the URL of this mock in place of ${issuer}, and in place of
// ${other_origin} the URL by which it is another origin.
func (s *Server) expand(text string) string {
	return strings.NewReplacer("${issuer}", s.URL, "${other_origin}", strings.Replace(s.URL, "localhost", "127.0.0.1", 1)).Replace(text)
}
