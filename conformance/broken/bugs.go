package main

import (
	"net/http"

	"github.com/marque-id/marque/conformance/drivers/go/driver"
)

// do is how a driver does an operation.
type do = func(*driver.Request) driver.Answer

// bugs are all bugs by name. What each means is in bugs.yaml.
func bugs() map[string]driver.Bent {
	return map[string]driver.Bent{
		// No bug: what notices this one notices nothing.
		"none": {Do: nothing, Transport: on(unchanged)},

		// The token source.
		"token-per-call":           {Do: tokenPerCall},
		"no-single-flight":         {Do: noSingleFlight},
		"leader-takes-peers-along": {Do: leaderTakesPeersAlong},
		"refreshed-at-every-call":  {Do: refreshedAtEveryCall},
		"expiry-forgotten":         {Clock: stopped},
		"secret-read-once":         {Do: secretReadOnce},
		"401-drops-nothing":        {Transport: on(keepFirstToken)},
		"401-drops-everything":     dropEverything(),
		"api-key-in-query":         {Transport: on(keyInQuery)},

		// Calls.
		"retry-after-ignored":       {Transport: on(forgetRetryAfter)},
		"patch-replayed":            {Transport: on(replayPatches)},
		"idempotency-key-per-try":   {Transport: on(keyPerAttempt)},
		"idempotency-key-forgotten": {Transport: on(forgetKey)},
		"if-match-forgotten":        {Transport: on(forgetIfMatch)},
		"absent-sent-as-null":       {Transport: on(absentAsNull)},
		"null-not-sent":             {Transport: on(nullDropped)},
		"first-page-only":           {Transport: on(firstPageOnly)},
		"redirects-followed":        {Transport: on(followRedirects)},
		"certificate-unchecked":     {Transport: trustAll},
		"unknown-value-is-an-error": {Do: unknownValueIsError},
		"unknown-code-is-lost":      {Do: unknownCodeIsLost},
		"secret-in-error":           {Do: secretInError},
		"secret-in-print":           {Do: secretInPrint},

		// The verifier.
		"audience-unchecked":  {Do: accepting("audience")},
		"issuer-unchecked":    {Do: accepting("issuer")},
		"expiry-unchecked":    {Do: accepting("expired")},
		"type-unchecked":      {Do: accepting("type")},
		"signature-unchecked": {Do: accepting("signature")},
		"algorithm-confused":  {Do: accepting("algorithm")},
		"scope-unchecked":     {Do: accepting("scope")},
		"stop-unheard":        {Do: accepting("revoked")},
		"generation-ignored":  {Transport: on(generationIgnored)},
		"stale-served":        {Do: staleServed},
		"position-forgotten":  {Transport: on(positionForgotten)},
		"verdict-remembered":  verdictRemembered(),
		"reset-overheard":     {Transport: on(resetOverheard)},
		"keys-per-token":      {Do: keysPerToken},
		"kids-flood-keys":     {Do: kidsFloodKeys},
		"keys-forever":        {Transport: on(keysForever)},
		"bad-token-is-500":    {Do: badTokenIs500},
		"no-challenge":        {Do: noChallenge},
		"key-fetch-is-401":    {Do: keyFetchIs401},
	}
}

func nothing(_ *driver.Driver, r *driver.Request, do do) driver.Answer { return do(r) }

func unchanged(next http.RoundTripper) roundTrip { return next.RoundTrip }

// roundTrip is a transport as a function.
type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// on makes a transport of a function that is given the true one; each client has
// its own.
func on(bend func(http.RoundTripper) roundTrip) func(*http.Transport) http.RoundTripper {
	return func(t *http.Transport) http.RoundTripper { return bend(t) }
}
