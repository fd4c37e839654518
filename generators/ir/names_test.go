package ir

import "testing"

func TestNamesAreSpelledAsEachLanguageLikes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, snake, pascal, camel, plain string }{
		{"service_account_id", "service_account_id", "ServiceAccountID", "serviceAccountID", "ServiceAccountId"},
		{"ServiceAccountId", "service_account_id", "ServiceAccountID", "serviceAccountID", "ServiceAccountId"},
		{"JSONWebKeySet", "json_web_key_set", "JSONWebKeySet", "jsonWebKeySet", "JsonWebKeySet"},
		{"OAuthError", "o_auth_error", "OAuthError", "oAuthError", "OAuthError"},
		{"If-Match", "if_match", "IfMatch", "ifMatch", "IfMatch"},
		{"jwks_uri", "jwks_uri", "JWKSURI", "jwksURI", "JwksUri"},
		{"get_openid", "get_openid", "GetOpenID", "getOpenID", "GetOpenid"},
		{"ES256", "es256", "ES256", "es256", "Es256"},
		{"audit_events.list", "audit_events_list", "AuditEventsList", "auditEventsList", "AuditEventsList"},
		{"y", "y", "Y", "y", "Y"},
	} {
		n := ParseName(c.name)
		if n.Snake() != c.snake || n.Pascal() != c.pascal || n.Camel() != c.camel || n.Plain() != c.plain {
			t.Errorf("%s: %s %s %s %s", c.name, n.Snake(), n.Pascal(), n.Camel(), n.Plain())
		}
	}
}

func TestAReservedWordStepsAside(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		GoIdent("type"): "type_", GoIdent("types"): "types",
		PythonIdent("from"): "from_", PythonIdent("type"): "type",
		PythonArgument("timeout"): "timeout_", PythonIdent("timeout"): "timeout",
		TypeScriptIdent("class"): "class_", TypeScriptIdent("from"): "from",
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}
