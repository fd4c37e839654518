package config

import (
	"regexp"
	"slices"
	"strings"
)

// isClientVariable knows the variables of programs that call Marque: they share
// our prefix, and a shell in which they are set must still be able to start a
// server. MARQUE_ISSUER is not among them: it means the same on both sides.
func isClientVariable(name string) bool {
	switch name {
	case "MARQUE_CA_FILE", "MARQUE_CLIENT_ID", "MARQUE_CLIENT_SECRET", "MARQUE_CLIENT_SECRET_FILE",
		"MARQUE_API_KEY", "MARQUE_API_KEY_FILE", "MARQUE_KEY_FILE", "MARQUE_PROFILE":
		return true
	}
	return false
}

// ConfigFileVariable names the configuration file in place of --config.
const ConfigFileVariable = "MARQUE_CONFIG"

// orchestratorVariable matches what Kubernetes sets in every container of a
// namespace that has a service called marque. Refusing these as unknown would
// keep a server from starting that nobody misconfigured.
var orchestratorVariable = regexp.MustCompile(`^MARQUE_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)$`)

// readEnviron takes the variables with our prefix; an unknown one is a problem.
func readEnviron(environ []string, keys []Key) (map[string]value, []string) {
	values := map[string]value{}
	var problems []string
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, EnvPrefix) || name == ConfigFileVariable ||
			isClientVariable(name) || orchestratorVariable.MatchString(name) {
			continue
		}
		known := slices.IndexFunc(keys, func(k Key) bool { return k.Env() == name })
		if known < 0 {
			problems = append(problems, "environment: unknown variable "+name)
			continue
		}
		values[keys[known].Name] = value{text, "environment " + name}
	}
	return values, problems
}

// FileFromEnviron is the configuration file that the environment names, or "".
func FileFromEnviron(environ []string) string {
	for _, entry := range environ {
		if path, ok := strings.CutPrefix(entry, ConfigFileVariable+"="); ok {
			return path
		}
	}
	return ""
}
