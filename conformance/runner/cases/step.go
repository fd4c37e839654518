package cases

import (
	"errors"
	"fmt"
)

// Step is one thing that is done. Exactly one of the first block is there; it
// says what, and for most also on what.
type Step struct {
	New       string             `yaml:"new"`       // makes a client of this name
	Verifier  string             `yaml:"verifier"`  // makes a verifier of this name
	Call      string             `yaml:"call"`      // an operationId
	Iterate   string             `yaml:"iterate"`   // an operationId
	Token     string             `yaml:"token"`     // a client
	Fetch     string             `yaml:"fetch"`     // a client
	Verify    string             `yaml:"verify"`    // a verifier
	Protect   string             `yaml:"protect"`   // a verifier
	Following string             `yaml:"following"` // a verifier
	Start     string             `yaml:"start"`     // begins Run under this name
	Cancel    string             `yaml:"cancel"`
	Await     string             `yaml:"await"`
	Advance   *float64           `yaml:"advance"` // seconds
	Arrived   string             `yaml:"arrived"` // waits until a route has had Times requests
	Release   string             `yaml:"release"` // lets held replies go on
	Settle    bool               `yaml:"settle"`  // gives what was started a moment to get where it waits
	Raw       string             `yaml:"raw"`     // METHOD /path, sent by the runner itself
	Database  string             `yaml:"database"`
	Write     map[string]string  `yaml:"write"` // files in ${dir}
	Play      map[string]Replies `yaml:"play"`  // more of the script

	On    string `yaml:"on"` // of Call and Iterate; "c" when absent
	Run   *Step  `yaml:"run"`
	Times int    `yaml:"times"`

	// Of New and Verifier, as in protocol.json; what is absent here but for
	// issuer, authority, credentials, environment and clock is absent there.
	Chain          bool               `yaml:"chain"` // pass on nothing but what is said here
	Issuer         string             `yaml:"issuer"`
	Authority      string             `yaml:"authority"` // "other": one that did not sign; "none"
	Credentials    map[string]any     `yaml:"credentials"`
	Environment    map[string]string  `yaml:"environment"`
	Resource       string             `yaml:"resource"`
	Scopes         []string           `yaml:"scopes"`
	Timeout        *float64           `yaml:"timeout"`
	TokenTimeout   *float64           `yaml:"token_timeout"`
	Retries        *int               `yaml:"retries"`
	RefreshWindows map[string]float64 `yaml:"refresh_windows"`
	Audience       string             `yaml:"audience"`
	Leeway         *float64           `yaml:"leeway"`
	Revoked        []string           `yaml:"revoked"`
	Follow         map[string]any     `yaml:"follow"` // client, and what else there is in protocol.json
	Clock          string             `yaml:"clock"`  // "real": that of the machine; live cases have that anyway

	Args     map[string]any    `yaml:"args"` // parameters by wire name, and body
	Limit    int               `yaml:"limit"`
	Options  map[string]any    `yaml:"options"`
	Parallel int               `yaml:"parallel"`
	Method   string            `yaml:"method"`
	URL      string            `yaml:"url"`
	Path     string            `yaml:"path"`
	Headers  map[string]string `yaml:"headers"`
	Body     any               `yaml:"body"`
	Stream   bool              `yaml:"stream"` // the body can be read once
	Events   int               `yaml:"events"` // of Raw: read so many events of a stream, then go
	JWT      string            `yaml:"jwt"`    // a token of Tokens by name, or the text of one

	Expect any            `yaml:"expect"`
	Error  map[string]any `yaml:"error"`
	Meta   map[string]any `yaml:"meta"`  // of Call: status, etag, request_id
	Slept  any            `yaml:"slept"` // on the fake clock during this step
	// Eventually repeats the step for up to 5 s until it is as expected: for what
	// follows from work in the background, which nothing on the wire shows.
	Eventually bool `yaml:"eventually"`
	// Within is for so many seconds at most, instead of 5.
	Within float64           `yaml:"within"`
	Save   map[string]string `yaml:"save"` // variable → place in the value
}

// Verb is what is done.
func (s *Step) Verb() string {
	verbs := s.verbs()
	if len(verbs) != 1 {
		return ""
	}
	return verbs[0]
}

func (s *Step) verbs() []string {
	var found []string
	for _, v := range []struct {
		name  string
		there bool
	}{
		{"new", s.New != ""}, {"verifier", s.Verifier != ""}, {"call", s.Call != ""}, {"iterate", s.Iterate != ""},
		{"following", s.Following != ""}, {"token", s.Token != ""}, {"fetch", s.Fetch != ""}, {"verify", s.Verify != ""}, {"protect", s.Protect != ""},
		{"start", s.Start != ""}, {"cancel", s.Cancel != ""}, {"await", s.Await != ""}, {"advance", s.Advance != nil},
		{"arrived", s.Arrived != ""}, {"release", s.Release != ""}, {"settle", s.Settle}, {"raw", s.Raw != ""},
		{"database", s.Database != ""}, {"write", s.Write != nil}, {"play", s.Play != nil},
	} {
		if v.there {
			found = append(found, v.name)
		}
	}
	return found
}

func (s *Step) check() error {
	switch verbs := s.verbs(); {
	case len(verbs) != 1:
		return fmt.Errorf("it does %d things: %v", len(verbs), verbs)
	case s.Start != "" && s.Run == nil:
		return errors.New("start needs what to run")
	case s.Run != nil:
		return s.Run.check()
	case s.Events > 0 && s.Raw == "":
		return errors.New("events are read of raw")
	case s.Expect != nil && s.Error != nil:
		return errors.New("it expects a value and an error")
	}
	return nil
}

// Operation is the operationId that the step calls through the SDK, or empty.
func (s *Step) Operation() string {
	switch {
	case s.Run != nil:
		return s.Run.Operation()
	case s.Call != "":
		return s.Call
	}
	return s.Iterate
}
