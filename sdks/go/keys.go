package marque

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxKeyAge is the longest that a key set is believed, whatever its header says.
	maxKeyAge = 10 * time.Minute
	// defaultKeyAge is for an answer without Cache-Control, which Marque never gives.
	defaultKeyAge = 5 * time.Minute
	// minKeyAge keeps an answer that must not be cached from costing a request per token.
	minKeyAge = time.Second
	// unknownKeyPause is how often a kid that is not in the set may make us ask
	// again: anybody can write any kid.
	unknownKeyPause = 30 * time.Second
	// failurePause is how long the server is left alone after a failure.
	failurePause = 5 * time.Second
	maxKeySet    = 256 << 10 // bytes
)

// keySet is what the server published at one moment.
type keySet struct {
	keys  map[string]*publicKey
	until time.Time // fresh until then
}

// keyCache has the keys of an issuer. A set is fresh for as long as its header
// says, at most 10 min. After that it is fetched anew before it is used; where
// that fails the old keys serve on. A key that is no longer published is gone
// with the next fetch.
type keyCache struct {
	fetch func(context.Context) (*keySet, error)
	clock Clock
	log   *slog.Logger

	current atomic.Pointer[keySet] // nil until the first fetch has succeeded

	mu           sync.Mutex
	flight       *flight[*keySet]
	failed       *Error    // of the last fetch; nil when it succeeded
	failedUntil  time.Time // no fetch before
	unknownUntil time.Time // no fetch for an unknown kid before
}

// find returns the key with this id. nil means that there is none; an error,
// that this cannot be told.
func (c *keyCache) find(ctx context.Context, kid string) (*publicKey, error) {
	set, now := c.current.Load(), c.clock.Now()
	if set != nil && now.Before(set.until) {
		if key := set.keys[kid]; key != nil {
			return key, nil
		}
	}
	f, set, failed := c.join(kid, now)
	if f != nil {
		fetched, err := f.wait(ctx, opJWKSGet.id)
		switch {
		case err == nil:
			set, failed = fetched, nil
		case ctx.Err() != nil:
			return nil, err
		default:
			failed = asError(err)
		}
	}
	if set != nil {
		if key := set.keys[kid]; key != nil {
			return key, nil
		}
	}
	if failed != nil {
		return nil, failed
	}
	return nil, nil
}

// join decides whether the keys must be asked for again. It returns the flight
// to wait for, if any, and what is known without it.
func (c *keyCache) join(kid string, now time.Time) (*flight[*keySet], *keySet, *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.current.Load()
	known := set != nil && set.keys[kid] != nil
	stale := set == nil || !now.Before(set.until)
	switch {
	case known && !stale:
		return nil, set, nil
	case c.flight != nil:
	case now.Before(c.failedUntil), !stale && now.Before(c.unknownUntil):
		return nil, set, c.failed
	default:
		if !stale {
			c.unknownUntil = now.Add(unknownKeyPause)
		}
		c.flight = newFlight[*keySet]()
		go c.fly(c.flight)
	}
	// While the server is failing nobody waits for it who can do without.
	if known && c.failed != nil {
		return nil, set, nil
	}
	c.flight.waiters.Add(1)
	return c.flight, set, nil
}

func (c *keyCache) fly(f *flight[*keySet]) {
	f.value, f.err = c.fetch(context.Background())
	c.mu.Lock()
	c.flight = nil
	if f.err == nil {
		// An unchanged key stays the same value, so that what it has verified stays valid.
		if before := c.current.Load(); before != nil {
			for kid, key := range f.value.keys {
				if old := before.keys[kid]; old != nil && old.source == key.source {
					f.value.keys[kid] = old
				}
			}
		}
		c.current.Store(f.value)
		c.failed = nil
	} else {
		c.failed = asError(f.err)
		c.failedUntil = c.clock.Now().Add(failurePause)
	}
	c.mu.Unlock()
	close(f.done)
	if f.err != nil {
		c.log.LogAttrs(context.Background(), slog.LevelWarn, "marque keys were not fetched", slog.String("error", f.err.Error()))
	}
}

// keyServer fetches key sets from an issuer.
type keyServer struct {
	root    string
	http    *http.Client
	timeout time.Duration
	clock   Clock
}

// fetch makes one request. It is not repeated: whoever waits is in the middle
// of a request of its own, and asks again soon.
func (s *keyServer) fetch(ctx context.Context) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	began := s.clock.Now()
	request, err := http.NewRequestWithContext(ctx, opJWKSGet.method, s.root+opJWKSGet.path, nil)
	if err != nil {
		return nil, misconfigured("the issuer gives no valid URL for its keys")
	}
	request.Header.Set("User-Agent", userAgent)
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	response, err := s.http.Do(request)
	if err != nil {
		e := classify(err, s.root, s.timeout)
		e.Operation = opJWKSGet.id
		return nil, e
	}
	defer func() { _ = response.Body.Close() }()
	answer, failure := readAnswer(response, maxKeySet, s.timeout)
	if failure != nil {
		failure.Operation = opJWKSGet.id
		return nil, failure
	}
	var said struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := answer.decode(opJWKSGet, &said); err != nil {
		return nil, err
	}
	if said.Keys == nil {
		e := answer.problem(KindProtocol, "the answer is not a key set")
		e.Operation = opJWKSGet.id
		return nil, e
	}
	return &keySet{keys: readKeys(said.Keys), until: began.Add(keyAge(answer.header))}, nil
}

// readKeys reads the keys that are of use. Where two have one id, neither is:
// which one is meant cannot be told.
func readKeys(list []json.RawMessage) map[string]*publicKey {
	keys := make(map[string]*publicKey, len(list))
	seen := make(map[string]bool, len(list))
	for _, raw := range list {
		key := readKey(string(raw))
		switch {
		case key == nil:
		case seen[key.kid]:
			delete(keys, key.kid)
		default:
			keys[key.kid], seen[key.kid] = key, true
		}
	}
	return keys
}

// keyAge is for how long an answer is fresh (RFC 9111 section 4.2).
func keyAge(header http.Header) time.Duration {
	age, said := defaultKeyAge, false
	for _, line := range header.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
			switch name {
			case "no-store", "no-cache":
				return minKeyAge
			case "max-age":
				if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil && !said {
					age, said = time.Duration(seconds)*time.Second, true
				}
			}
		}
	}
	// What a cache in between has used up of it.
	if used, err := strconv.ParseUint(header.Get("Age"), 10, 31); err == nil {
		age -= time.Duration(used) * time.Second
	}
	return min(max(age, minKeyAge), maxKeyAge)
}
