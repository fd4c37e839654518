// Package cases reads what is to be judged: files of cases in YAML, and vectors.
package cases

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/marque-id/marque/conformance/runner/mint"
	"github.com/marque-id/marque/conformance/runner/mock"
)

// Suite is the cases of one file.
type Suite struct {
	Name  string `yaml:"suite"`
	Cases []Case `yaml:"cases"`
}

// Case is one behaviour.
type Case struct {
	Suite string `yaml:"-"`
	Live  bool   `yaml:"-"` // against the real server, else against a mock
	Skip  string `yaml:"-"` // why it cannot be run here
	File  string `yaml:"-"`

	Name string `yaml:"name"`
	// Server is the live server's configuration, by name; empty is the usual one.
	Server string `yaml:"server"`
	// Deviant says why requests of this case may be other than the contract allows.
	Deviant string `yaml:"deviant"`

	Mock   map[string]Replies    `yaml:"mock"`
	Keys   map[string]string     `yaml:"keys"` // name → algorithm
	Tokens map[string]mint.Token `yaml:"tokens"`
	Files  map[string]string     `yaml:"files"` // name → content, in ${dir}

	Steps []Step          `yaml:"steps"`
	Wire  map[string]Wire `yaml:"wire"`  // route → what is expected of its requests
	Order []string        `yaml:"order"` // all routes that were called, in order
}

// ID is the case's name among all.
func (c *Case) ID() string { return c.Suite + "/" + c.Name }

// Script is the mock's script.
func (c *Case) Script() mock.Script { return script(c.Mock) }

// Wire is what is expected of the requests on one route. What is absent is not looked at.
type Wire struct {
	Count    *int           `yaml:"count"`
	AtLeast  *int           `yaml:"at_least"`
	Headers  map[string]any `yaml:"headers"` // of each request, by lower-case name
	Query    map[string]any `yaml:"query"`
	Form     map[string]any `yaml:"form"`
	JSON     any            `yaml:"json"`
	Same     []string       `yaml:"same"`     // headers that all requests have with one value
	Distinct []string       `yaml:"distinct"` // headers that no two requests have with one value
	Each     []Wire         `yaml:"each"`     // the same, request by request
}

// Replies are a list, or {first: […], always: …}.
type Replies struct{ mock.Replies }

// UnmarshalYAML reads both forms.
func (r *Replies) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.SequenceNode {
		return strictly(node, &r.List)
	}
	var both struct {
		First  []mock.Reply `yaml:"first"`
		Always *mock.Reply  `yaml:"always"`
	}
	err := strictly(node, &both)
	r.List, r.Always = both.First, both.Always
	return err
}

func script(m map[string]Replies) mock.Script {
	s := mock.Script{}
	for route, replies := range m {
		s[route] = replies.Replies
	}
	return s
}

// strictly decodes a node and refuses unknown names, which [yaml.Node.Decode] lets pass.
func strictly(node *yaml.Node, out any) error {
	text, err := yaml.Marshal(node)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	return decoder.Decode(out)
}

// Load reads all cases below a directory: live/*.yaml, mock/*.yaml, vectors/*.json.
func Load(dir string) ([]*Case, error) {
	var all []*Case
	var failures []error
	for _, kind := range []string{"live", "mock"} {
		files, err := filepath.Glob(filepath.Join(dir, kind, "*.yaml"))
		if err != nil {
			return nil, err
		}
		sort.Strings(files)
		for _, file := range files {
			suite, err := load(file)
			if err != nil {
				failures = append(failures, fmt.Errorf("%s: %w", file, err))
				continue
			}
			for i := range suite.Cases {
				c := &suite.Cases[i]
				c.Suite, c.Live, c.File = suite.Name, kind == "live", file
				all = append(all, c)
			}
		}
	}
	vectors, err := loadVectors(filepath.Join(dir, "vectors"))
	failures = append(failures, err, distinct(all))
	return append(all, vectors...), errors.Join(failures...)
}

func load(file string) (*Suite, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var suite Suite
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&suite); err != nil {
		return nil, err
	}
	if suite.Name == "" || len(suite.Cases) == 0 {
		return nil, errors.New("a suite has a name and cases")
	}
	for i := range suite.Cases {
		for n, step := range suite.Cases[i].Steps {
			if err := step.check(); err != nil {
				return nil, fmt.Errorf("%s: step %d: %w", suite.Cases[i].Name, n+1, err)
			}
		}
	}
	return &suite, nil
}

func distinct(all []*Case) error {
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.ID()] {
			return fmt.Errorf("two cases are called %s", c.ID())
		}
		if c.Name == "" || strings.Contains(c.Name, " -- ") {
			return fmt.Errorf("%s: a case has a name, without \" -- \" in it", c.File)
		}
		seen[c.ID()] = true
	}
	return nil
}

// Select keeps the cases whose ID contains one of the given texts, all when there is none.
func Select(all []*Case, texts []string) []*Case {
	if len(texts) == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(c *Case) bool {
		return !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(c.ID(), text) })
	})
}
