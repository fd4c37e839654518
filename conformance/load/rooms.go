package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/pprof/profile"

	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/server"
)

// rooms prints where the server's processor spends its time while it issues
// tokens and while it answers for one, by the server's own profile: each sample
// belongs to the innermost room that it was taken in. What the processor is
// spent on is what throughput is spent on, so the share of the rooms that make
// Marque fit to be operated is what they cost.
func (b *bench) rooms(ctx context.Context, cluster *postgres.Cluster) error {
	return b.onBoth(func(database string) error {
		o, err := b.options(ctx, cluster, database)
		if err != nil {
			return err
		}
		o.Env["MARQUE_OPERATIONS_PPROF"] = "true"
		s, err := server.Start(ctx, o)
		if err != nil {
			return err
		}
		defer s.Kill()
		admin, err := s.Token(ctx, s.AdminID, s.AdminSecret, "")
		if err != nil {
			return err
		}
		agents, validator, err := populate(ctx, s, admin, 1)
		if err != nil {
			return err
		}
		one := agents[0]
		token, err := s.Token(ctx, one.id, one.secret, audience)
		if err != nil {
			return err
		}
		for _, work := range []struct {
			title, path string
			form        url.Values
		}{
			{"issuance, " + database, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {one.id}, "client_secret": {one.secret}, "resource": {audience}}},
			{"introspection, " + database, "/oauth2/introspect", url.Values{"token": {token}, "client_id": {validator.id}, "client_secret": {validator.secret}}},
		} {
			p, shot, err := b.profiled(ctx, s, post(s.Address, work.path, work.form))
			if err != nil {
				return fmt.Errorf("%s: %w", work.title, err)
			}
			printRooms(work.title, p, shot)
		}
		return nil
	})
}

// profiled takes a profile of the server while it is kept busy with a request.
func (b *bench) profiled(ctx context.Context, s *server.Server, request []byte) (*profile.Profile, shot, error) {
	type taken struct {
		*profile.Profile
		err error
	}
	done := make(chan taken, 1)
	go func() {
		p, err := fetchProfile(ctx, s, int(b.length.Seconds()))
		done <- taken{p, err}
	}()
	shot, err := fire(ctx, s.Address, s.TLS, [][]byte{request}, b.connections, b.length)
	t := <-done
	return t.Profile, shot, cmp.Or(err, t.err)
}

func fetchProfile(ctx context.Context, s *server.Server, seconds int) (*profile.Profile, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", s.Operations, max(1, seconds)), nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: s.HTTP.Transport}).Do(request) // it takes longer than other answers
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("profile: %s", response.Status)
	}
	return profile.Parse(response.Body)
}

// operated are the rooms, and the files of httpapi, that are there for those who
// operate a server: limits, the true address, metrics, logs, deadlines.
var operated = []string{"limit", "proxy", "telemetry", "operations", "httpapi/observe.go", "httpapi/limits.go", "httpapi/deadline.go"}

func printRooms(title string, p *profile.Profile, s shot) {
	shares, total, hardening := map[string]int64{}, int64(0), int64(0)
	for _, sample := range p.Sample {
		spent := sample.Value[len(sample.Value)-1]
		total += spent
		r, file := roomOf(sample)
		shares[r] += spent
		if slices.Contains(operated, r) || slices.Contains(operated, r+"/"+file) {
			hardening += spent
		}
	}
	percent := func(n int64) float64 { return 100 * float64(n) / float64(max(1, total)) }
	names := slices.SortedFunc(maps.Keys(shares), func(a, b string) int { return cmp.Compare(shares[b], shares[a]) })
	var line strings.Builder
	for _, n := range names {
		if percent(shares[n]) >= 0.5 {
			fmt.Fprintf(&line, ", %s %.1f %%", n, percent(shares[n]))
		}
	}
	fmt.Printf("%-44s %10s %10.0f  %s\n", "processor by room, "+title, "", s.rate, strings.TrimPrefix(line.String(), ", "))
	fmt.Printf("%-44s %10s %9.1f%%\n", "limits, metrics, logs, true address", "", percent(hardening))
}

// roomOf is the room of the server, or what lies below it, in which a sample was
// taken, and the file there.
func roomOf(sample *profile.Sample) (room, file string) {
	const internal = "github.com/marque-id/marque/server/internal/"
	below := []struct{ prefix, name string }{
		{"crypto/tls.", "TLS"}, {"net.", "TLS"}, {"github.com/valyala/fasthttp", "HTTP"}, {"github.com/gofiber/fiber", "HTTP"},
		{"github.com/jackc/pgx", "database"}, {"modernc.org/", "database"}, {"database/sql.", "database"}, {"github.com/uptrace/bun", "database"},
		{"github.com/golang-jwt/", "jose"}, {"runtime.gcBgMarkWorker", "garbage collection"}, {"runtime.bgsweep", "garbage collection"}, {"runtime.mcall", "scheduler"},
		{"runtime.mstart", "scheduler"}, {"runtime.morestack", "scheduler"},
	}
	for _, location := range sample.Location { // from the innermost
		for _, line := range location.Line {
			name := line.Function.Name
			if rest, ok := strings.CutPrefix(name, internal); ok {
				room, _, _ = strings.Cut(rest, ".")
				room, _, _ = strings.Cut(room, "/")
				return room, filepath.Base(line.Function.Filename)
			}
			for _, b := range below {
				if strings.HasPrefix(name, b.prefix) {
					return b.name, ""
				}
			}
		}
	}
	return "Go's runtime", ""
}
