package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const invoices = "https://invoices.example.com"

// tell is the whole story, in order.
func (s *story) tell() {
	fmt.Fprint(s.out, "Marque gives software that acts on its own an identity, a short-lived token, and an\n"+
		"end when somebody says so. Lines with > are sent, lines with < come back.\n")

	admin := s.signInAsAdministrator()
	api := s.registerAPI(admin)
	agent := s.registerAgent(admin, api.resourceServer)
	token := s.agentSignsIn(agent)
	s.apiValidates(api, token)
	s.revokeToken(admin, api, token)
	s.revokeEverything(admin, api, agent)
	s.disable(admin, api, agent)
	s.readAudit(admin, agent)
	s.bySDKs()
	s.verifyAudit()

	if s.err == nil {
		fmt.Fprint(s.out, "\nThat was the whole story. `make run` starts a server for you to try it by hand.\n")
	}
}

// party is somebody with an account and a secret.
type party struct {
	id, secret     string
	resourceServer string // of an API
}

func (s *story) signInAsAdministrator() auth {
	s.chapter("An operator starts a server and signs in",
		fmt.Sprintf("`marque serve --dev` needed %d ms: it made a database, a certificate authority, a", s.server.took.Milliseconds()),
		"master key and an administrator, all in one directory that only its owner can read.",
		"There is no plaintext listener, not even now.")
	secret, err := os.ReadFile(s.server.profile.ClientSecretFile)
	if err != nil {
		s.err = err
		return nil
	}
	got := s.form("/oauth2/token", basic(s.server.profile.ClientID, string(secret)), url.Values{"grant_type": {"client_credentials"}}, http.StatusOK)
	admin := bearer(text(got, "access_token"))
	me := s.json(http.MethodGet, "/v1/whoami", admin, nil, http.StatusOK)
	account, _ := me["service_account"].(object)
	permissions, _ := me["permissions"].([]any)
	s.say("It is %s, with %d permissions. The administrator is an account like any other:", text(account, "name"), len(permissions))
	s.say("managing Marque takes a token of Marque.")
	return admin
}

func (s *story) registerAPI(admin auth) party {
	s.chapter("An API is registered, and what can be permitted there",
		"Its identifier is what will stand in the tokens' aud.")
	rs := s.json(http.MethodPost, "/v1/resource-servers", admin, object{
		"identifier": invoices, "name": "invoices",
		"permissions": []object{{"name": "invoices:read"}, {"name": "invoices:write"}},
	}, http.StatusCreated)
	s.say("The API gets an account of its own, so that it may ask about tokens made for it.")
	api := s.account(admin, object{"name": "invoices-api", "kind": "service", "owner": "billing@example.com"})
	api.resourceServer = text(rs, "id")
	s.json(http.MethodPatch, "/v1/resource-servers/"+api.resourceServer, admin, object{"introspectors": []string{api.id}}, http.StatusOK)
	return api
}

// account registers a service account with one secret.
func (s *story) account(admin auth, body object) party {
	account := s.json(http.MethodPost, "/v1/service-accounts", admin, body, http.StatusCreated)
	id := text(account, "id")
	secret := s.json(http.MethodPost, "/v1/service-accounts/"+id+"/client-secrets", admin, nil, http.StatusCreated)
	return party{id: id, secret: text(secret, "client_secret")}
}

func (s *story) registerAgent(admin auth, resourceServer string) party {
	s.chapter("An agent is registered", "Somebody has to answer for it: the owner is required.")
	agent := s.account(admin, object{"name": "invoice-reader", "kind": "agent", "owner": "alice@example.com"})
	s.say("What it may do comes from roles alone.")
	role := s.json(http.MethodPost, "/v1/roles", admin, object{
		"name": "invoice-clerk", "permissions": []object{{"resource_server": resourceServer, "permission": "invoices:read"}},
	}, http.StatusCreated)
	s.json(http.MethodPut, "/v1/service-accounts/"+agent.id+"/roles/"+text(role, "id"), admin, nil, http.StatusOK)
	return agent
}

// token gets a token for the agent.
func (s *story) token(agent party, want int, more url.Values) object {
	params := url.Values{"grant_type": {"client_credentials"}, "resource": {invoices}}
	for name, values := range more {
		params[name] = values
	}
	return s.form("/oauth2/token", basic(agent.id, agent.secret), params, want)
}

func (s *story) agentSignsIn(agent party) string {
	s.chapter("The agent gets its token", "Plain OAuth 2.0 client credentials: any library can do it.")
	token := text(s.token(agent, http.StatusOK, nil), "access_token")
	s.showClaims(token)
	s.say("It asks for more than its role gives, and with a wrong secret:")
	s.token(agent, http.StatusBadRequest, url.Values{"scope": {"invoices:write"}})
	s.token(party{id: agent.id, secret: "mqs_guessed"}, http.StatusUnauthorized, nil)
	return token
}

// showClaims prints what stands in a token.
func (s *story) showClaims(token string) {
	if s.err != nil {
		return
	}
	parts := strings.Split(token, ".")
	s.check(len(parts) == 3, "the token is no JWT")
	if s.err != nil {
		return
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		s.err = err
		return
	}
	s.say("In the token: %s", payload)
}

func (s *story) apiValidates(api party, token string) {
	s.chapter("The API checks the token", "First by itself: it fetches the published keys once, and then needs no call at all.")
	if s.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(s.ctx, s.client.http), 10*time.Second)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, s.client.issuer)
	if err != nil {
		s.err = err
		return
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: invoices}).Verify(ctx, token)
	if err != nil {
		s.err = err
		return
	}
	s.say("Verified with go-oidc from %s/.well-known/openid-configuration:", s.client.issuer)
	s.say("  issuer, audience, signature and time are good; the caller is %s", verified.Subject)
	_, err = provider.Verifier(&oidc.Config{ClientID: "https://payroll.example.com"}).Verify(ctx, token)
	s.check(err != nil, "another audience should have been refused")
	s.say("At another API the same token is refused: it was made for this one.")
	s.say("Or it asks Marque, which also knows what was revoked:")
	s.active(api, token, true)
}

// active introspects a token as the API.
func (s *story) active(api party, token string, want bool) {
	state := s.form("/oauth2/introspect", basic(api.id, api.secret), url.Values{"token": {token}}, http.StatusOK)
	s.check(state["active"] == want, "introspection should have said active: %v", want)
}

func (s *story) revokeToken(admin auth, api party, token string) {
	s.chapter("One token is revoked", "It was seen where it should not be. From now on it is dead, though it has not expired.")
	s.form("/oauth2/revoke", admin, url.Values{"token": {token}}, http.StatusOK)
	s.active(api, token, false)
}

func (s *story) revokeEverything(admin auth, api party, agent party) {
	s.chapter("Everything issued to the agent is revoked",
		"Nobody knows which tokens leaked. The account's generation grows by one, and every",
		"token of an older generation is dead: one entry, however many tokens there were.")
	token := text(s.token(agent, http.StatusOK, nil), "access_token")
	s.json(http.MethodPost, "/v1/service-accounts/"+agent.id+"/revocations", admin, nil, http.StatusOK)
	s.active(api, token, false)
	s.say("The agent itself is still welcome, with a new token:")
	s.active(api, text(s.token(agent, http.StatusOK, nil), "access_token"), true)
}

func (s *story) disable(admin auth, api party, agent party) {
	s.chapter("The agent is stopped", "Disabled: no new token by any path, and the ones it holds die with it.")
	token := text(s.token(agent, http.StatusOK, nil), "access_token")
	s.json(http.MethodPost, "/v1/service-accounts/"+agent.id+"/disable", admin, nil, http.StatusOK)
	s.active(api, token, false)
	refused := s.token(agent, http.StatusUnauthorized, nil)
	s.check(text(refused, "error") == "invalid_client", "the refusal should have been invalid_client")
}

func (s *story) readAudit(admin auth, agent party) {
	s.chapter("An auditor reads what happened to the agent",
		"Every decision is one event, recorded before it was answered.")
	list := s.json(http.MethodGet, "/v1/audit-events?service_account="+agent.id, admin, nil, http.StatusOK)
	items, _ := list["items"].([]any)
	seen := map[string]int{}
	for _, item := range items {
		event, _ := item.(object)
		seen[text(event, "type")]++
		s.say("  #%-3v %-30s %-8s %-17s by %s", event["seq"], text(event, "type"), text(event, "outcome"), text(event, "reason"), s.who(event, agent))
	}
	s.check(seen["token.issued"] == 4, "there should have been 4 issued tokens, not %d", seen["token.issued"])
	s.check(seen["token.refused"] == 3, "there should have been 3 refusals, not %d", seen["token.refused"])
}

// who names the actor of an event.
func (s *story) who(event object, agent party) string {
	switch actor := text(event, "actor"); actor {
	case "":
		return "somebody who did not prove who it is"
	case agent.id:
		return "the agent"
	case s.server.profile.ClientID:
		return "the administrator"
	default:
		return actor
	}
}

func (s *story) verifyAudit() {
	s.chapter("The record is proved",
		"The server stops, as SIGTERM tells it to. The events form a hash chain with signed",
		"checkpoints: what was altered, removed or put in would be found.")
	if s.err != nil {
		return
	}
	if s.err = s.server.stop(); s.err != nil {
		return
	}
	s.say("$ marque audit verify")
	out, err := s.server.command(s.ctx, "audit", "verify")
	for line := range strings.Lines(out) {
		s.say("  %s", strings.TrimRight(line, "\n"))
	}
	s.check(err == nil, "audit verify: %v", err)
}
