package marque

import (
	"net/url"
	"strings"
)

// settings are what the chain of constructor, environment and profile gives.
type settings struct {
	issuer     string // as it stands in iss
	caFile     string
	credential Credential // nil only where none was asked for
}

// chain looks for settings source by source. It reads files and variables, and
// never asks the network.
type chain struct {
	getenv  func(string) string
	issuer  string
	caFile  string
	profile string // named by the constructor

	loaded  bool
	found   *profile
	missing string // why there is no profile
}

// env is a variable of the environment, unless the constructor named a profile.
func (c *chain) env(name string) string {
	if c.profile != "" {
		return ""
	}
	return c.getenv(name)
}

func (c *chain) loadProfile() (*profile, error) {
	if c.loaded {
		return c.found, nil
	}
	name := c.profile
	if name == "" {
		name = c.getenv("MARQUE_PROFILE")
	}
	var err error
	if c.found, c.missing, err = readProfile(profilePath(c.getenv), name); err != nil {
		return nil, err
	}
	c.loaded = true
	return c.found, nil
}

// resolve finds everything. given is the constructor's credential; where wanted
// is false none is looked for.
func (c *chain) resolve(given Credential, wanted bool) (settings, error) {
	s := settings{issuer: c.issuer, caFile: c.caFile, credential: given}
	if s.issuer == "" {
		s.issuer = c.env("MARQUE_ISSUER")
	}
	if s.caFile == "" {
		s.caFile = c.env("MARQUE_CA_FILE")
	}
	if s.credential == nil && wanted {
		var err error
		if s.credential, err = c.fromEnvironment(); err != nil {
			return s, err
		}
	}
	if s.issuer == "" || (s.credential == nil && wanted) || c.profile != "" {
		if err := c.addProfile(&s, wanted); err != nil {
			return s, err
		}
	}
	return s, checkIssuer(s.issuer)
}

// fromEnvironment returns nil where the environment has no credential, and an
// error where it has half of one: going on with another identity would be worse.
func (c *chain) fromEnvironment() (Credential, error) {
	id, secret, file := c.env("MARQUE_CLIENT_ID"), strings.TrimSpace(c.env("MARQUE_CLIENT_SECRET")), c.env("MARQUE_CLIENT_SECRET_FILE")
	key, keyFile := strings.TrimSpace(c.env("MARQUE_API_KEY")), c.env("MARQUE_API_KEY_FILE")
	switch {
	case key != "" && keyFile != "":
		return nil, misconfigured("MARQUE_API_KEY and MARQUE_API_KEY_FILE are both set: unset one")
	case (key != "" || keyFile != "") && (id != "" || secret != "" || file != ""):
		return nil, misconfigured("%s and %s are both set, which are two ways to sign in: unset one",
			c.firstOf("MARQUE_API_KEY", "MARQUE_API_KEY_FILE"), c.firstOf("MARQUE_CLIENT_ID", "MARQUE_CLIENT_SECRET", "MARQUE_CLIENT_SECRET_FILE"))
	case keyFile != "":
		return APIKeyFileCredential(keyFile), nil
	case key != "":
		return givenKey("MARQUE_API_KEY", Secret(key)), nil
	case secret != "" && file != "":
		return nil, misconfigured("MARQUE_CLIENT_SECRET and MARQUE_CLIENT_SECRET_FILE are both set: unset one")
	case id != "" && file != "":
		return SecretFileCredential(id, file), nil
	case id != "" && secret != "":
		return SecretCredential(id, Secret(secret)), nil
	case id != "":
		return nil, misconfigured("MARQUE_CLIENT_ID is set without MARQUE_CLIENT_SECRET_FILE or MARQUE_CLIENT_SECRET")
	case secret != "" || file != "":
		return nil, misconfigured("a client secret is set in the environment without MARQUE_CLIENT_ID")
	}
	if c.env("MARQUE_KEY_FILE") != "" {
		return nil, misconfigured("MARQUE_KEY_FILE is set, but this version of the SDK signs in by client secret or API key only: set MARQUE_CLIENT_ID and MARQUE_CLIENT_SECRET_FILE, or MARQUE_API_KEY_FILE")
	}
	return nil, nil
}

// firstOf is the first of these variables that is set.
func (c *chain) firstOf(names ...string) string {
	for _, name := range names {
		if strings.TrimSpace(c.env(name)) != "" {
			return name
		}
	}
	return ""
}

// addProfile fills in from the profile what is still missing.
func (c *chain) addProfile(s *settings, wanted bool) error {
	p, err := c.loadProfile()
	if err != nil {
		return err
	}
	if p == nil {
		return c.nothing(s, wanted)
	}
	elsewhere := s.issuer != "" && s.issuer != p.Issuer
	if s.issuer == "" {
		s.issuer = p.Issuer
	}
	if s.issuer == "" {
		return misconfigured("the profile %q in %s has no issuer", p.name, p.file)
	}
	if s.caFile == "" && !elsewhere {
		s.caFile = p.CAFile
	}
	if s.credential != nil || !wanted {
		return nil
	}
	found, err := p.credential()
	if err != nil {
		return err
	}
	// A secret goes to nobody but the one that it was made for.
	if elsewhere {
		return misconfigured("the issuer is %s, but the only credential found is that of the profile %q for %s: give one for this issuer, or name none", s.issuer, p.name, p.Issuer)
	}
	s.credential = found
	return nil
}

// nothing tells where was looked for what is missing.
func (c *chain) nothing(s *settings, wanted bool) error {
	var tried []string
	if s.issuer == "" {
		tried = append(tried, "no issuer: Issuer is not set in the constructor, MARQUE_ISSUER is not set")
	}
	if s.credential == nil && wanted {
		tried = append(tried, "no credential: Credential is not set in the constructor, MARQUE_CLIENT_ID is not set, nor is MARQUE_API_KEY_FILE or MARQUE_API_KEY")
	}
	return misconfigured("%s; and no profile: %s", strings.Join(tried, "; "), c.missing)
}

func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme == "":
		return misconfigured("the issuer must be a URL such as https://auth.example.com")
	case u.Scheme != "https":
		return misconfigured("the issuer must be an https URL: Marque answers by TLS only")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return misconfigured("the issuer must have no user, query or fragment")
	}
	return nil
}
