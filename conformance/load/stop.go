package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/runner/protocol"
	"github.com/marque-id/marque/conformance/server"
)

const (
	stops     = 100  // tokens that are stopped for each figure
	followers = 1000 // that hear of it beside the one that is measured
	tooLate   = 5 * time.Second
	toBegin   = 30 * time.Second // for a verifier to know what is revoked

	// betweenQuestions leaves the processor to PostgreSQL, which shares it: two
	// processes that ask and answer without a pause kept it from telling the other
	// node for up to two seconds.
	betweenQuestions = time.Millisecond
)

// stopping prints how long a token that was revoked is still taken: by
// introspection on another node, and by a verifier of each SDK that follows one
// node beside a thousand others. It is counted from the answer to the revocation.
func (b *bench) stopping(ctx context.Context, cluster *postgres.Cluster) error {
	o, err := b.options(ctx, cluster, "PostgreSQL")
	if err != nil {
		return err
	}
	o.Env["MARQUE_REVOCATIONS_FOLLOWERS_PER_ACCOUNT"] = "2000"
	if err := os.Mkdir(o.Dir+"-2", 0o700); err != nil {
		return err
	}
	// What is measured is here, whose URL is the issuer; what stops tokens is there.
	here, err := server.Start(ctx, o)
	if err != nil {
		return err
	}
	defer here.Kill()
	there, err := here.Node(ctx, o.Dir+"-2")
	if err != nil {
		return err
	}
	defer there.Kill()
	admin, err := here.Token(ctx, here.AdminID, here.AdminSecret, "")
	if err != nil {
		return err
	}
	agents, _, err := populate(ctx, here, admin, 1)
	if err != nil {
		return err
	}
	one := agents[0]

	fmt.Printf("%-72s %9s %9s %9s\n", "stopped after", "p50", "p99", "slowest")
	stop := func(refused func(token string) (bool, error)) ([]time.Duration, error) {
		return timeStops(ctx, there, admin, one, refused)
	}
	took, err := stop(func(token string) (bool, error) {
		_, _, answer, err := here.Ask(ctx, here.HTTP, "/oauth2/introspect",
			url.Values{"token": {token}, "client_id": {here.AdminID}, "client_secret": {here.AdminSecret}})
		return strings.TrimSpace(string(answer)) == `{"active":false}`, err
	})
	if err != nil {
		return err
	}
	printStops("introspection on another node, PostgreSQL", took)

	crowd, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := gather(crowd, here, admin); err != nil {
		return err
	}
	for _, sdk := range []struct {
		name    string
		command []string
	}{
		{"Go", []string{"go"}}, {"Python", []string{"python"}}, {"Python, asyncio", []string{"python", "--async"}}, {"TypeScript", []string{"typescript"}},
	} {
		command := append([]string{"./" + filepath.Join("conformance", "drivers", sdk.command[0], "run")}, sdk.command[1:]...)
		v, err := follow(ctx, here, command)
		if err != nil {
			return fmt.Errorf("%s: %w", sdk.name, err)
		}
		took, err := stop(v.refused)
		v.driver.Kill()
		if err != nil {
			return fmt.Errorf("%s: %w", sdk.name, err)
		}
		printStops(fmt.Sprintf("local verifier, %s, with %d followers, on another node", sdk.name, followers), took)
	}
	fmt.Println()
	return nil
}

// timeStops gets tokens and stops them, one after the other, and asks until each
// is refused. The first is not counted: by it a verifier that has just begun is seen
// to follow.
func timeStops(ctx context.Context, s *server.Server, admin string, one agent, refused func(string) (bool, error)) ([]time.Duration, error) {
	took := make([]time.Duration, 0, stops)
	for n := range 1 + stops {
		token, err := s.Token(ctx, one.id, one.secret, audience)
		if err != nil {
			return nil, err
		}
		if no, err := refused(token); err != nil || no {
			return nil, errors.Join(errors.New("a good token is refused"), err)
		}
		if err := revoke(ctx, s, admin, token); err != nil {
			return nil, err
		}
		acknowledged := time.Now()
		for {
			no, err := refused(token)
			if err != nil {
				return nil, err
			}
			if no {
				break
			}
			if time.Since(acknowledged) > tooLate {
				return nil, fmt.Errorf("a stopped token is still taken after %v", tooLate)
			}
			time.Sleep(betweenQuestions)
		}
		if n > 0 {
			took = append(took, time.Since(acknowledged))
		}
	}
	slices.Sort(took)
	return took, nil
}

// revoke asks again where the database, which has its processor from the followers
// and the verifier, was too late.
func revoke(ctx context.Context, s *server.Server, admin, token string) error {
	for began := time.Now(); ; {
		err := s.Call(ctx, admin, http.MethodPost, "/v1/revocations", map[string]any{"token": token}, nil)
		refusal, refused := errors.AsType[*server.Refusal](err)
		if !refused || refusal.Status != http.StatusServiceUnavailable || time.Since(began) > tooLate {
			return err
		}
	}
}

func printStops(title string, took []time.Duration) {
	at := func(percent int) time.Duration {
		return took[(len(took)*percent+99)/100-1].Round(100 * time.Microsecond)
	}
	fmt.Printf("%-72s %9v %9v %9v\n", title, at(50), at(99), at(100))
}

// gather lets followers follow a node until ctx ends.
func gather(ctx context.Context, s *server.Server, admin string) error {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.TLS}}
	failures := make(chan error, followers)
	var joined sync.WaitGroup
	for range followers {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/revocations/feed", nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+admin)
		joined.Go(func() {
			response, err := client.Do(request)
			if err == nil && response.StatusCode != http.StatusOK {
				err = fmt.Errorf("the feed answers %s", response.Status)
			}
			if err != nil {
				failures <- err
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, response.Body) // until ctx ends
				_ = response.Body.Close()
			}()
		})
	}
	joined.Wait()
	close(failures)
	return <-failures
}

// following is a verifier of an SDK, by its driver of the conformance suite.
type following struct{ driver *protocol.Driver }

func follow(ctx context.Context, s *server.Server, command []string) (*following, error) {
	driver, err := protocol.Start(ctx, ".", command...)
	if err != nil {
		return nil, err
	}
	v := &following{driver}
	authority := filepath.Join(s.Dir(), "cert.pem")
	for _, request := range []protocol.Request{
		{"op": "new", "as": "c", "kind": "client", "issuer": s.URL, "ca_file": authority,
			"credentials": map[string]any{"client_id": s.AdminID, "client_secret": s.AdminSecret}},
		{"op": "new", "as": "v", "kind": "verifier", "issuer": s.URL, "ca_file": authority, "audience": audience,
			"follow": map[string]any{"client": "c"}},
	} {
		if _, err := v.ask(request); err != nil {
			driver.Kill()
			return nil, err
		}
	}
	for began := time.Now(); ; {
		state, err := v.ask(protocol.Request{"op": "following", "on": "v"})
		if err != nil {
			driver.Kill()
			return nil, err
		}
		if object, err := state.Object(); err == nil && object["stale"] == false {
			return v, nil
		}
		if time.Since(began) > toBegin {
			driver.Kill()
			return nil, errors.New("the verifier does not come to know what is revoked")
		}
	}
}

func (v *following) ask(request protocol.Request) (protocol.Answer, error) {
	answer, err := v.driver.Ask(request)
	if err == nil && answer.OK == nil {
		err = fmt.Errorf("%v: %+v", request["op"], answer)
	}
	return answer, err
}

// refused asks the verifier about a token.
func (v *following) refused(token string) (bool, error) {
	answer, err := v.driver.Ask(protocol.Request{"op": "verify", "on": "v", "token": token})
	switch {
	case err != nil:
		return false, err
	case answer.OK != nil:
		return false, nil
	case answer.Err != nil && answer.Err.Code == "revoked":
		return true, nil
	}
	return false, fmt.Errorf("verify: %+v", answer)
}
