package marque

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeysAreFetchedOncePerMaxAge(t *testing.T) {
	t.Parallel()
	for cache, age := range map[string]time.Duration{
		"public, max-age=300": 300 * time.Second,
		"max-age=86400":       10 * time.Minute, // never longer
		"Max-Age=\"60\"":      time.Minute,
		"":                    5 * time.Minute,
		"no-store":            time.Second,
		"max-age=0":           time.Second,
		"max-age=x":           5 * time.Minute,
	} {
		t.Run(cache, func(t *testing.T) {
			t.Parallel()
			key := newES256(t, "k")
			i := newIssuer(key)
			i.cache = cache
			v := i.verifier(t)
			verify := func() {
				t.Helper()
				if _, err := v.Verify(t.Context(), i.token(key, nil), testAudience); err != nil {
					t.Fatal(err)
				}
			}
			verify()
			i.clock.advance(age - time.Nanosecond)
			if verify(); i.fetches() != 1 {
				t.Errorf("%d fetches before the set is stale", i.fetches())
			}
			i.clock.advance(time.Nanosecond)
			if verify(); i.fetches() != 2 {
				t.Errorf("%d fetches after it is", i.fetches())
			}
		})
	}
}

func TestWhatACacheInBetweenUsedUpIsSubtracted(t *testing.T) {
	t.Parallel()
	if got := keyAge(http.Header{"Cache-Control": {"max-age=300"}, "Age": {"200"}}); got != 100*time.Second {
		t.Error(got)
	}
}

func TestARotatedKeyIsFoundAtOnceAndARemovedOneDropped(t *testing.T) {
	t.Parallel()
	before, after := newES256(t, "k1"), newES256(t, "k2")
	i := newIssuer(before)
	v := i.verifier(t)
	old, young := i.token(before, nil), i.token(after, nil)
	verify := func(token string) error {
		_, err := v.Verify(t.Context(), token, testAudience)
		return err
	}
	if err := verify(old); err != nil {
		t.Fatal(err)
	}
	i.publish(0, before, after)
	if err := verify(young); err != nil || i.fetches() != 2 {
		t.Fatalf("%v after %d fetches", err, i.fetches())
	}
	i.publish(0, after)
	if err := verify(old); err != nil {
		t.Errorf("while the set is fresh: %v", err)
	}
	i.clock.advance(301 * time.Second)
	refused(t, "after the key is gone", verify(old), ReasonKeyUnknown) // although it is in the cache of verified tokens
	if err := verify(young); err != nil {
		t.Error(err)
	}
}

func TestAKeyOfTheSameIDWithOtherMaterialDoesNotInheritTrust(t *testing.T) {
	t.Parallel()
	before, after := newES256(t, "k"), newES256(t, "k")
	i := newIssuer(before)
	v := i.verifier(t)
	token := i.token(before, nil)
	if _, err := v.Verify(t.Context(), token, testAudience); err != nil {
		t.Fatal(err)
	}
	i.publish(0, after)
	i.clock.advance(301 * time.Second)
	_, err := v.Verify(t.Context(), token, testAudience)
	refused(t, "the old token", err, ReasonSignature)
}

func TestUnknownKidsDoNotFloodTheIssuer(t *testing.T) {
	t.Parallel()
	key, foreign := newES256(t, "k"), newES256(t, "x")
	i := newIssuer(key)
	v := i.verifier(t)
	if _, err := v.Verify(t.Context(), i.token(key, nil), testAudience); err != nil {
		t.Fatal(err)
	}
	flood := func() {
		for n := range 100 {
			foreign.kid = fmt.Sprint("random-", n)
			_, err := v.Verify(t.Context(), i.token(foreign, nil), testAudience)
			refused(t, foreign.kid, err, ReasonKeyUnknown)
		}
	}
	if flood(); i.fetches() != 2 {
		t.Errorf("%d fetches, want one more", i.fetches())
	}
	i.clock.advance(29 * time.Second)
	if flood(); i.fetches() != 2 {
		t.Errorf("%d fetches within the pause", i.fetches())
	}
	i.clock.advance(time.Second)
	if flood(); i.fetches() != 3 {
		t.Errorf("%d fetches after it", i.fetches())
	}
}

func TestCachedKeysServeWhileTheIssuerFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key, foreign := newES256(t, "k"), newES256(t, "x")
		i := newIssuer(key)
		v := i.verifier(t)
		verify := func() error {
			_, err := v.Verify(t.Context(), i.token(key, nil), testAudience)
			return err
		}
		if err := verify(); err != nil {
			t.Fatal(err)
		}
		i.publish(503, key)
		i.clock.advance(time.Hour)
		for range 10 {
			i.clock.advance(time.Second) // the token is made anew: it is good
			if err := verify(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if n := i.fetches(); n != 3 { // the first, one that was waited for, one after 5 s
			t.Errorf("%d fetches", n)
		}
		// Whether a key that is not there exists cannot be told now.
		_, err := v.Verify(t.Context(), i.token(foreign, nil), testAudience)
		refused(t, "unknown kid", err, ReasonKeyFetch)

		i.publish(0, foreign)
		i.clock.advance(failurePause)
		if err := verify(); err != nil {
			t.Errorf("nobody waits for an issuer that fails: %v", err)
		}
		synctest.Wait()
		refused(t, "after the issuer is back without the key", verify(), ReasonKeyUnknown)
	})
}

func TestWithoutKeysNothingIsKnownAboutAToken(t *testing.T) {
	t.Parallel()
	key := newES256(t, "k")
	for name, break_ := range map[string]func(*issuer){
		"503":      func(i *issuer) { i.publish(503) },
		"redirect": func(i *issuer) { i.publish(302) },
		"HTML": func(i *issuer) {
			i.answer = func(int, sent, *http.Request) (*http.Response, error) {
				return respond(200, "<html>", "Content-Type", "text/html"), nil
			}
		},
		"no key set": func(i *issuer) {
			i.answer = func(int, sent, *http.Request) (*http.Response, error) { return respond(200, "{}"), nil }
		},
		"unreachable": func(i *issuer) {
			i.answer = func(int, sent, *http.Request) (*http.Response, error) { return nil, errors.New("refused") }
		},
		"far too long": func(i *issuer) {
			i.answer = func(int, sent, *http.Request) (*http.Response, error) {
				return respond(200, `{"keys":[`+string(make([]byte, maxKeySet))), nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(key)
			good := i.answer
			break_(i)
			v := i.verifier(t)
			for range 3 {
				_, err := v.Verify(t.Context(), i.token(key, nil), testAudience)
				refused(t, name, err, ReasonKeyFetch)
				if e := err.(*TokenError); e.Status() != 503 || e.Challenge() != "" || !errors.As(err, new(*Error)) {
					t.Errorf("%d %q", e.Status(), e.Challenge())
				}
			}
			if i.fetches() != 1 {
				t.Errorf("%d fetches within the pause", i.fetches())
			}
			i.publish(0, key)
			i.answer = good
			i.clock.advance(failurePause)
			if _, err := v.Verify(t.Context(), i.token(key, nil), testAudience); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestManyVerificationsShareOneFetchAndOneMayGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		key := newES256(t, "k")
		i := newIssuer(key)
		i.gate = make(chan struct{})
		v, token := i.verifier(t), i.token(key, nil)
		first, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			_, err := v.Verify(first, token, testAudience)
			failure(t, err, KindCanceled)
		})
		synctest.Wait()
		for range 100 {
			all.Go(func() {
				if _, err := v.Verify(t.Context(), token, testAudience); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(i.gate)
		all.Wait()
		if i.fetches() != 1 {
			t.Errorf("%d fetches", i.fetches())
		}
	})
}
