package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"

	"github.com/marque-id/marque/server/internal/identity"
)

// Input is everything that Load looks at; it reads neither os.Args nor the
// process environment by itself.
type Input struct {
	File    string            // path of the YAML file, or ""
	Environ []string          // NAME=value, as of os.Environ
	Flags   map[string]string // key name → value, for flags that were given
	Dev     bool
	// Serving asks for what a server cannot do without and other commands can:
	// an issuer and a certificate.
	Serving bool
}

// Setting is one key with the value in force, redacted, and where it came from.
type Setting struct {
	Key    Key
	Value  string
	Source string
}

// Loaded is a configuration and the account of how it came about.
type Loaded struct {
	Config
	Settings []Setting
}

// Problems are all findings about a configuration, so that an operator mends
// them in one go.
type Problems []string

// Error lists the findings, one a line.
func (p Problems) Error() string {
	return fmt.Sprintf("the configuration has %d problem(s):\n  %s", len(p), strings.Join(p, "\n  "))
}

// value is a text with its origin.
type value struct {
	text   string
	source string
}

// Load puts together what is in force: a flag beats the environment, which
// beats the file, which beats the default. Its error is Problems.
func Load(in Input) (*Loaded, error) {
	keys := Keys()
	var problems Problems

	given := map[string]value{}
	if in.File != "" {
		fromFile, found := readFile(in.File, keys)
		problems = append(problems, found...)
		maps.Copy(given, fromFile)
	}
	fromEnv, found := readEnviron(in.Environ, keys)
	problems = append(problems, found...)
	for name, v := range fromEnv {
		given[name] = v
	}
	for name, text := range in.Flags {
		given[name] = value{text, "flag --" + strings.ReplaceAll(name, "_", "-")}
	}

	loaded := &Loaded{Config: Config{Dev: in.Dev}}
	sources := map[string]string{}
	for _, k := range keys {
		v, ok := given[k.Name]
		if !ok {
			v = value{literalDefault(k, in.Dev), "default"}
			if v.text == "" {
				sources[k.Name] = "default"
				continue
			}
		}
		sources[k.Name] = v.source
		if v.text == "" {
			problems = append(problems, fmt.Sprintf("%s (%s): it is empty; leave it out to get the default", k.Name, v.source))
			continue
		}
		if err := k.set(&loaded.Config, v.text); err != nil {
			problems = append(problems, fmt.Sprintf("%s (%s): %v", k.Name, v.source, err))
		}
	}
	loaded.derive()
	problems = append(problems, loaded.missing(in.Serving)...)
	if len(problems) > 0 {
		return nil, problems
	}
	for _, k := range keys {
		loaded.Settings = append(loaded.Settings, Setting{k, shown(k, &loaded.Config), sources[k.Name]})
	}
	return loaded, nil
}

// literalDefault is the default of a key where it is a value and not a sentence
// about other keys; those are put in by derive.
func literalDefault(k Key, dev bool) string {
	text := k.Default
	if dev && k.Dev != "" {
		text = k.Dev
	}
	if strings.Contains(text, " ") {
		return ""
	}
	return text
}

// derive fills in what follows from the data directory.
func (c *Config) derive() {
	if c.Database.URL.Reveal() == "" {
		c.Database.URL = identity.NewSecretValue("sqlite:" + c.InDataDir("marque.db"))
	}
	if c.MasterKeyFile == "" {
		c.MasterKeyFile = c.InDataDir("master.key")
	}
}

// missing finds what is wrong with the whole and not with one value.
func (c *Config) missing(serving bool) []string {
	var problems []string
	if (c.TLS.CertificateFile == "") != (c.TLS.KeyFile == "") {
		problems = append(problems, "tls.certificate_file and tls.key_file: one is set without the other")
	}
	if c.Tokens.Lifetime > c.Tokens.LifetimeMax {
		problems = append(problems, fmt.Sprintf("tokens.lifetime: %s is longer than tokens.lifetime_max, %s",
			showDuration(c.Tokens.Lifetime), showDuration(c.Tokens.LifetimeMax)))
	}
	if c.Database.PasswordFile != "" && urlPassword(c.Database.URL.Reveal()) {
		problems = append(problems, "database.password_file: database.url carries a password already")
	}
	if c.Dev || !serving {
		return problems
	}
	if c.Issuer == "" {
		problems = append(problems, "issuer: it is not set; give the https URL by which clients reach this server")
	}
	if c.TLS.CertificateFile == "" && c.TLS.KeyFile == "" {
		problems = append(problems, "tls.certificate_file, tls.key_file: they are not set; there is no listener without TLS (`marque serve --dev` makes a certificate of its own)")
	}
	return problems
}

func shown(k Key, c *Config) string {
	text := k.show(c)
	if k.secret && text != "" {
		return redacted
	}
	return text
}

// String prints the settings, one a line, with the source of each.
func (l *Loaded) String() string {
	width := 0
	for _, s := range l.Settings {
		width = max(width, len(s.Key.Name)+len(s.Value))
	}
	var b strings.Builder
	for _, s := range l.Settings {
		text := s.Value
		if text == "" {
			text = "(none)"
		}
		fmt.Fprintf(&b, "%s = %s%s  # %s\n", s.Key.Name, text, strings.Repeat(" ", max(0, width-len(s.Key.Name)-len(text))), s.Source)
	}
	return b.String()
}

func absolute(path string) (string, error) {
	if path == "" {
		return "", errors.New("it is empty")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%q has no absolute form: %w", path, err)
	}
	return abs, nil
}
