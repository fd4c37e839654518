package protocol

import (
	"testing"
)

// TestMessages holds protocol.json to examples of both directions.
func TestMessages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		definition, text string
		good             bool
	}{
		{"request", `{"id":1,"op":"hello","protocol":1}`, true},
		{"request", `{"id":1,"op":"hello","extra":1}`, false},
		{"request", `{"op":"hello"}`, false},
		{"request", `{"id":1,"op":"dance"}`, false},
		{"request", `{"id":2,"op":"call","on":"c","operation":"roles.get","path":["role_1"]}`, true},
		{"request", `{"id":2,"op":"call","on":"c"}`, false},
		{"request", `{"id":3,"op":"parallel","count":8,"run":{"op":"token","on":"c"}}`, true},
		{"request", `{"id":3,"op":"parallel","count":8}`, false},
		{"request", `{"id":4,"op":"new","as":"c","kind":"client","clock":{"at":1}}`, true},
		{"answer", `{"id":1,"ok":{}}`, true},
		{"answer", `{"id":1,"ok":{},"slept":[0.5]}`, true},
		{"answer", `{"id":1,"ok":{},"fault":"x"}`, false},
		{"answer", `{"id":1}`, false},
		{"answer", `{"id":1,"err":{"kind":"api","retryable":false,"text":"x","code":"not_found","status":404}}`, true},
		{"answer", `{"id":1,"err":{"kind":"sad","retryable":false,"text":"x"}}`, false},
		{"answer", `{"id":1,"err":{"kind":"api"}}`, false},
		{"answer", `{"id":1,"unsupported":"no such thing"}`, true},
		{"results/call", `{"value":null,"text":""}`, true},
		{"results/call", `{"text":""}`, false},
		{"results/parallel", `{"answers":[{"ok":{}},{"fault":"x"}]}`, true},
		{"results/parallel", `{"answers":[{}]}`, false},
		{"results/verify", `{"subject":"a","client_id":"a","scopes":[],"roles":[],"expires_at":1}`, true},
		{"results/verify", `{"subject":"a"}`, false},
	} {
		if err := check(c.definition, []byte(c.text)); (err == nil) != c.good {
			t.Errorf("%s %s: %v", c.definition, c.text, err)
		}
	}
}
