package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

const audience = "https://invoices.example.com"

// agent is a registered client.
type agent struct{ id, secret string }

// measure prints the rows of one database.
func (b *bench) measure(ctx context.Context, s *server.Server, database string) error {
	admin, err := s.Token(ctx, s.AdminID, s.AdminSecret, "")
	if err != nil {
		return err
	}
	agents, validator, err := populate(ctx, s, admin, b.accounts)
	if err != nil {
		return err
	}

	form := func(values url.Values) []byte {
		return post(s.Address, "/oauth2/token", values)
	}
	one := agents[0]
	request := url.Values{"grant_type": {"client_credentials"}, "client_id": {one.id}, "client_secret": {one.secret}, "resource": {audience}}
	if err := b.pair(ctx, s, "issuance, durable audit, "+database, "issuance",
		[]string{"-client-id", one.id, "-client-secret", one.secret}, [][]byte{form(request)}, [][]byte{form(request)}); err != nil {
		return err
	}
	var many [][]byte
	for _, a := range agents[:min(len(agents), 1000)] {
		values := url.Values{"grant_type": {"client_credentials"}, "client_id": {a.id}, "client_secret": {a.secret}, "resource": {audience}}
		many = append(many, form(values))
	}
	if err := b.pair(ctx, s, "the same by 1,000 accounts in turn", "issuance",
		[]string{"-client-id", one.id, "-client-secret", one.secret}, many, [][]byte{form(request)}); err != nil {
		return err
	}

	key, err := issueKey(ctx, s, admin, one.id)
	if err != nil {
		return err
	}
	login := postJSON(s.Address, "/v1/login", fmt.Sprintf(`{"api_key":%q,"resource":%q}`, key, audience))
	if err := b.pair(ctx, s, "the same by API key", "issuance",
		[]string{"-client-id", one.id, "-client-secret", one.secret}, [][]byte{login}, [][]byte{form(request)}); err != nil {
		return err
	}

	token, err := s.Token(ctx, one.id, one.secret, audience)
	if err != nil {
		return err
	}
	inspect := url.Values{"token": {token}, "client_id": {validator.id}, "client_secret": {validator.secret}}
	size, err := answerSize(ctx, s, inspect)
	if err != nil {
		return err
	}
	if err := b.pair(ctx, s, "introspection, token seen before, "+database, "echo", []string{"-size", strconv.Itoa(size)},
		[][]byte{post(s.Address, "/oauth2/introspect", inspect)}, [][]byte{post(s.Address, "/echo", inspect)}); err != nil {
		return err
	}
	return b.memory(ctx, s, agents, database)
}

// turn is how long the limit, or Marque, runs before it is the other's turn. A
// machine of which others have a part changes its speed within minutes: what is
// compared is measured in the same moment, and many times.
const turn = time.Second

// turns is how many turns each has in the time of all rounds.
func (b *bench) turns() int {
	return max(1, int(time.Duration(b.rounds)*b.length/turn))
}

// pair measures the limit and Marque in turn and prints the median of the ratios,
// and between what half of them are.
func (b *bench) pair(ctx context.Context, s *server.Server, title, limit string, flags []string, requests, limitRequests [][]byte) error {
	if !strings.Contains(title, b.row) {
		return nil
	}
	address, end, err := b.startLimit(ctx, limit, s.Dir(), flags)
	if err != nil {
		return err
	}
	defer end()
	theirs := side{name: "limit", requests: limitRequests}
	if theirs.crowd, err = connect(address, s.TLS, b.connections); err != nil {
		return err
	}
	defer theirs.close()
	ours := side{name: "marque", requests: requests}
	if ours.crowd, err = connect(s.Address, s.TLS, b.connections); err != nil {
		return err
	}
	defer ours.close()
	for n := range b.turns() {
		order := []*side{&theirs, &ours}
		if n%2 == 1 { // neither is always the one that comes after the other
			slices.Reverse(order)
		}
		for _, one := range order {
			shot, err := one.fire(ctx, one.requests, turn)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", title, one.name, err)
			}
			if shot.bad > 0 {
				return fmt.Errorf("%s: %s: %d answers other than 200", title, one.name, shot.bad)
			}
			one.shots = append(one.shots, shot)
		}
	}
	m, ratios := middle(ours.shots), ratiosOf(ours.shots, theirs.shots)
	percent := func(quarter int) float64 { return 100 * ratios[len(ratios)*quarter/4] }
	fmt.Printf("%-44s %10.0f %10.0f %6.0f%% %9v %9v   %.0f to %.0f%%\n", title, middle(theirs.shots).rate, m.rate, percent(2), rounded(m.p50), rounded(m.p99), percent(1), percent(3))
	return nil
}

// side is one of the two that are compared.
type side struct {
	name string
	crowd
	requests [][]byte
	shots    []shot
}

func byRate(a, b shot) int { return cmp.Compare(a.rate, b.rate) }

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// startLimit runs a limit program on the server's processor.
func (b *bench) startLimit(ctx context.Context, name, certificates string, flags []string) (address string, end func(), err error) {
	args := append([]string{"-c", "0", b.limits[name], "-cert", filepath.Join(certificates, "cert.pem"), "-key", filepath.Join(certificates, "key.pem")}, flags...)
	program := exec.CommandContext(ctx, "taskset", args...)
	program.Stderr = os.Stderr
	out, err := program.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := program.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		_ = program.Process.Kill()
		_ = program.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		end()
		return "", nil, fmt.Errorf("limit %s: %w", name, err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on ")), end, nil
}

// memory prints what the server holds after every account has been used.
func (b *bench) memory(ctx context.Context, s *server.Server, agents []agent, database string) error {
	var wait sync.WaitGroup
	failures := make(chan error, 16)
	for w := range 16 {
		wait.Go(func() {
			for i := w; i < len(agents); i += 16 {
				if _, err := s.Token(ctx, agents[i].id, agents[i].secret, audience); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return err
	}
	now, highest, err := residentMiB(s.PID())
	if err != nil {
		return err
	}
	fmt.Printf("%-44s %10s %10.1f MiB, at most %.1f\n", fmt.Sprintf("resident memory, %s accounts, %s", thousands(len(agents)), database), "", now, highest)
	fmt.Println()
	return nil
}

// populate registers an API, a role, n agents that hold it, and a validator.
func populate(ctx context.Context, s *server.Server, admin string, n int) ([]agent, agent, error) {
	var api, role struct {
		ID string `json:"id"`
	}
	if err := s.Call(ctx, admin, http.MethodPost, "/v1/resource-servers", map[string]any{
		"identifier": audience, "name": "invoices",
		"permissions": []map[string]string{{"name": "invoices:read", "description": "Read"}, {"name": "invoices:write", "description": "Write"}},
	}, &api); err != nil {
		return nil, agent{}, err
	}
	if err := s.Call(ctx, admin, http.MethodPost, "/v1/roles", map[string]any{
		"name": "bookkeeper", "permissions": []map[string]string{
			{"resource_server": api.ID, "permission": "invoices:read"}, {"resource_server": api.ID, "permission": "invoices:write"},
		},
	}, &role); err != nil {
		return nil, agent{}, err
	}
	register := func(name, roleID string) (agent, error) {
		var account struct {
			ID string `json:"id"`
		}
		if err := s.Call(ctx, admin, http.MethodPost, "/v1/service-accounts", map[string]any{"name": name, "owner": "load"}, &account); err != nil {
			return agent{}, err
		}
		if err := s.Call(ctx, admin, http.MethodPut, "/v1/service-accounts/"+account.ID+"/roles/"+roleID, map[string]any{}, nil); err != nil {
			return agent{}, err
		}
		var secret struct {
			ClientSecret string `json:"client_secret"`
		}
		if err := s.Call(ctx, admin, http.MethodPost, "/v1/service-accounts/"+account.ID+"/client-secrets", map[string]any{}, &secret); err != nil {
			return agent{}, err
		}
		return agent{account.ID, secret.ClientSecret}, nil
	}

	agents := make([]agent, n)
	failures := make(chan error, 16)
	var wait sync.WaitGroup
	for w := range 16 {
		wait.Go(func() {
			for i := w; i < n; i += 16 {
				var err error
				if agents[i], err = register(fmt.Sprintf("agent-%d", i), role.ID); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	wait.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return nil, agent{}, err
	}
	const validatorRole = "role_00000000000000000000000003"
	validator, err := register("validator", validatorRole)
	return agents, validator, err
}

func answerSize(ctx context.Context, s *server.Server, values url.Values) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/oauth2/introspect", strings.NewReader(values.Encode()))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := s.HTTP.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	body := make([]byte, 64<<10)
	n := 0
	for {
		read, err := response.Body.Read(body[n:])
		n += read
		if err != nil {
			break
		}
	}
	if !strings.Contains(string(body[:n]), `"active":true`) {
		return 0, fmt.Errorf("introspection says %s", body[:n])
	}
	return n, nil
}

// issueKey makes an API key for an account.
func issueKey(ctx context.Context, s *server.Server, admin, account string) (string, error) {
	var key struct {
		APIKey string `json:"api_key"`
	}
	err := s.Call(ctx, admin, http.MethodPost, "/v1/service-accounts/"+account+"/api-keys", map[string]any{"name": "load"}, &key)
	return key.APIKey, err
}

// post renders a form request once, to be sent many times.
func post(address, path string, values url.Values) []byte {
	return render(address, path, "application/x-www-form-urlencoded", values.Encode())
}

// postJSON is post with a JSON body.
func postJSON(address, path, body string) []byte {
	return render(address, path, "application/json", body)
}

func render(address, path, contentType, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost%s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		path, address[strings.LastIndexByte(address, ':'):], contentType, len(body), body)
}
