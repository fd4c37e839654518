package audit

import "maps"

// differs names the first member in which the columns of a link say something
// else than its recorded bytes, or "".
func differs(columns, recorded *Event) string {
	for _, m := range [...]struct {
		name string
		same bool
	}{
		{"id", columns.ID == recorded.ID},
		{"at", columns.At.Equal(recorded.At)},
		{"type", columns.Type == recorded.Type},
		{"outcome", columns.Outcome == recorded.Outcome},
		{"reason", columns.Reason == recorded.Reason},
		{"actor", columns.Actor == recorded.Actor},
		{"account_id", columns.AccountID == recorded.AccountID},
		{"subject", columns.Subject == recorded.Subject},
		{"credential_id", columns.CredentialID == recorded.CredentialID},
		{"audience", columns.Audience == recorded.Audience},
		{"scope", columns.Scope == recorded.Scope},
		{"token_id", columns.TokenID == recorded.TokenID},
		{"address", columns.Address == recorded.Address},
		{"request_id", columns.RequestID == recorded.RequestID},
		{"trace_id", columns.TraceID == recorded.TraceID},
		{"count", columns.Count == recorded.Count},
		{"details", maps.Equal(columns.Details, recorded.Details)},
	} {
		if !m.same {
			return m.name
		}
	}
	return ""
}
