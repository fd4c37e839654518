package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/server"
)

// scale prints what issuance costs when an account has many roles and when there
// are many accounts. Accounts are asked for with the frequencies of Zipf's law,
// exponent 1, over all of them: the n-th is asked for 1/n as often as the first.
func (b *bench) scale(ctx context.Context, cluster *postgres.Cluster, database string) error {
	for _, n := range []int{1, 100, 10_000} {
		if err := b.withRoles(ctx, cluster, database, n); err != nil {
			return fmt.Errorf("%d roles: %w", n, err)
		}
	}
	return b.fleets(ctx, cluster, database)
}

// installation is a server with an API, a role and one account that has it.
type installation struct {
	*server.Server
	options   server.Options
	one       agent
	api, role string
}

// install makes an installation of its own for a figure.
func (b *bench) install(ctx context.Context, cluster *postgres.Cluster, database string) (*installation, error) {
	o, err := b.options(ctx, cluster, database)
	if err != nil {
		return nil, err
	}
	o.Env["MARQUE_CACHE_ACCOUNTS"] = strconv.Itoa(b.cache)
	s, err := server.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	admin, err := s.Token(ctx, s.AdminID, s.AdminSecret, "")
	if err != nil {
		s.Kill()
		return nil, err
	}
	agents, _, err := populate(ctx, s, admin, 1)
	if err != nil {
		s.Kill()
		return nil, err
	}
	i := &installation{Server: s, options: o, one: agents[0]}
	for path, id := range map[string]*string{"/v1/resource-servers?name_prefix=invoices": &i.api, "/v1/roles?name_prefix=bookkeeper": &i.role} {
		var list struct {
			Items []struct {
				ID string `json:"id"`
			} `json:"items"`
		}
		if err := s.Call(ctx, admin, http.MethodGet, path, nil, &list); err != nil || len(list.Items) != 1 {
			s.Kill()
			return nil, fmt.Errorf("GET %s: %d found: %w", path, len(list.Items), err)
		}
		*id = list.Items[0].ID
	}
	return i, nil
}

// grow changes the database while the server is stopped, and starts it again.
func (i *installation) grow(ctx context.Context, change func(*population) error) error {
	if err := i.Stop(); err != nil {
		return err
	}
	p, err := openPopulation(i.options.Dir, i.options.Database)
	if err != nil {
		return err
	}
	err = change(p)
	if closed := p.db.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	i.Server, err = server.Start(ctx, i.options)
	return err
}

// request is a token request of an account, rendered.
func (i *installation) request(id, resource string) []byte {
	return post(i.Address, "/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {i.one.secret}, "resource": {resource},
	})
}

func (b *bench) withRoles(ctx context.Context, cluster *postgres.Cluster, database string, n int) error {
	i, err := b.install(ctx, cluster, database)
	if err != nil {
		return err
	}
	defer func() { i.Kill() }()
	if err := i.grow(ctx, func(p *population) error { return p.roles(ctx, i.one.id, i.role, i.api, n) }); err != nil {
		return err
	}
	s, err := b.median(ctx, i.Server, [][]byte{i.request(i.one.id, "https://api-0.example.com")})
	if err != nil {
		return err
	}
	if n == 1 {
		b.oneRole = s
	}
	printScale(fmt.Sprintf("an account with %s roles, %s", thousands(n), database), s, b.oneRole)
	return nil
}

// few is the number of accounts that many are compared with.
const few = 1000

// fleets prints what many accounts cost beside few: two servers, of which one
// is measured while the other rests, in turn, so that a machine that is slower
// for a while is slower for both.
func (b *bench) fleets(ctx context.Context, cluster *postgres.Cluster, database string) error {
	small, err := b.fleet(ctx, cluster, database, few)
	if err != nil {
		return fmt.Errorf("%s accounts: %w", thousands(few), err)
	}
	defer small.Kill()
	big, err := b.fleet(ctx, cluster, database, b.fleetSize)
	if err != nil {
		return fmt.Errorf("%s accounts: %w", thousands(b.fleetSize), err)
	}
	defer big.Kill()

	random := rand.New(rand.NewPCG(1, 2)) // the same accounts in every run
	alike := func() int { return random.IntN(b.fleetSize) }
	cold, err := fire(ctx, big.Address, big.TLS, b.tokensOf(big, alike), b.connections, b.length)
	if err != nil {
		return err
	}
	// Warm: those that Zipf's law asks for most have been asked for once.
	for _, f := range []*fleet{small, big} {
		if err := b.warm(ctx, f.installation, min(f.size, b.cache)); err != nil {
			return err
		}
		f.zipf = newZipf(f.size, random)
	}
	length := 2 * b.length // long enough for what is written in the background
	for range b.rounds {
		for _, f := range []*fleet{small, big} {
			requests := b.tokensOf(f, f.zipf.draw)
			if err := resting(ctx, small.PID(), big.PID()); err != nil {
				return err
			}
			one, err := fire(ctx, f.Address, f.TLS, requests, b.connections, length)
			if err != nil {
				return err
			}
			if one.bad > 0 {
				return fmt.Errorf("%s accounts: %d answers other than 200", thousands(f.size), one.bad)
			}
			f.shots = append(f.shots, one)
		}
	}
	than := middle(small.shots)
	for _, f := range []*fleet{small, big} {
		printRate(fmt.Sprintf("%s accounts, Zipf, warm, %s", thousands(f.size), database), middle(f.shots), medianRatio(f.shots, small.shots))
		resident, _, err := residentMiB(f.PID())
		if err != nil {
			return err
		}
		fmt.Printf("%-44s %10s %10.0f MiB, cache.accounts %s\n", "  its resident memory", "", resident, thousands(b.cache))
	}
	printScale(fmt.Sprintf("%s accounts, all alike, cold, %s", thousands(big.size), database), cold, than)
	fmt.Printf("%-44s %10s %10.0f accounts/s, each with a secret and a role\n", "  set up in bulk, by SQL", "", big.perSecond)
	return nil
}

// fleet is an installation with a number of accounts, and what was measured.
type fleet struct {
	*installation
	size      int
	perSecond float64 // accounts that were set up
	zipf      *zipf
	shots     []shot
}

func (b *bench) fleet(ctx context.Context, cluster *postgres.Cluster, database string, n int) (*fleet, error) {
	i, err := b.install(ctx, cluster, database)
	if err != nil {
		return nil, err
	}
	f := &fleet{installation: i, size: n}
	if err := i.grow(ctx, func(p *population) (err error) {
		f.perSecond, err = p.accounts(ctx, i.one.id, n)
		return err
	}); err != nil {
		i.Kill()
		return nil, err
	}
	return f, nil
}

// tokensOf are more token requests than one run sends, of the accounts drawn.
func (b *bench) tokensOf(f *fleet, draw func() int) [][]byte {
	all := make([][]byte, int(b.length.Seconds()*2*12_000)+1)
	for at := range all {
		all[at] = f.request(idOf("sa", draw()), audience)
	}
	return all
}

// warm asks once for each of the first n accounts.
func (b *bench) warm(ctx context.Context, i *installation, n int) error {
	requests := make([][]byte, n)
	for at := range requests {
		requests[at] = i.request(idOf("sa", at), audience)
	}
	return once(ctx, i.Address, i.TLS, requests, b.connections)
}

// median is the middle one of the rounds, all with the same requests.
func (b *bench) median(ctx context.Context, s *server.Server, requests [][]byte) (shot, error) {
	var shots []shot
	for range b.rounds {
		one, err := fire(ctx, s.Address, s.TLS, requests, b.connections, b.length)
		if err != nil {
			return shot{}, err
		}
		if one.bad > 0 {
			return shot{}, fmt.Errorf("%d answers other than 200", one.bad)
		}
		shots = append(shots, one)
	}
	return middle(shots), nil
}

// middle is the median by rate.
func middle(shots []shot) shot {
	sorted := slices.SortedFunc(slices.Values(shots), byRate)
	return sorted[len(sorted)/2]
}

// medianRatio is the median of the ratios of runs that came one after the other: of
// two medians, one may be of a better minute than the other.
func medianRatio(shots, others []shot) float64 {
	ratios := ratiosOf(shots, others)
	return ratios[len(ratios)/2]
}

// ratiosOf are the ratios of the pairs, from the lowest.
func ratiosOf(shots, others []shot) []float64 {
	ratios := make([]float64, len(shots))
	for i := range shots {
		ratios[i] = shots[i].rate / others[i].rate
	}
	slices.Sort(ratios)
	return ratios
}

func printScale(title string, s, than shot) { printRate(title, s, s.rate/than.rate) }

func printRate(title string, s shot, ratio float64) {
	fmt.Printf("%-44s %10s %10.0f %6.0f%% %9v %9v\n", title, "", s.rate, 100*ratio, rounded(s.p50), rounded(s.p99))
}

// zipf draws numbers below n with the frequencies of Zipf's law, exponent 1.
type zipf struct {
	sums   []float64 // of 1/1 … 1/k
	random *rand.Rand
}

func newZipf(n int, random *rand.Rand) *zipf {
	z := &zipf{make([]float64, n), random}
	sum := 0.0
	for k := range z.sums {
		sum += 1 / float64(k+1)
		z.sums[k] = sum
	}
	return z
}

func (z *zipf) draw() int {
	return sort.SearchFloat64s(z.sums, z.random.Float64()*z.sums[len(z.sums)-1])
}

// residentMiB is what a process has in memory, and the most that it had.
func residentMiB(pid int) (now, highest float64, err error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			highest = kib / 1024
		}
	}
	return now, highest, nil
}

// resting waits until the processes have written what waited to be written.
func resting(ctx context.Context, pids ...int) error {
	const look, most, quiet = time.Second, 60, 3 // ticks of 10 ms, of 100
	var before int64
	for calm, n := 0, 0; calm < 2 && n < most; n++ {
		var used int64
		for _, pid := range pids {
			stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
			if err != nil {
				return err
			}
			_, rest, _ := strings.Cut(string(stat), ") ") // the name may have spaces
			for _, field := range strings.Fields(rest)[11:13] {
				ticks, err := strconv.ParseInt(field, 10, 64)
				if err != nil {
					return err
				}
				used += ticks
			}
		}
		if calm++; used-before > quiet {
			calm = 0
		}
		before = used
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
	}
	return nil
}

// thousands writes a number with commas.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return thousands(n/1000) + fmt.Sprintf(",%03d", n%1000)
}
