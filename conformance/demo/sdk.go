package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// sdk is a program that tells the story by an SDK.
type sdk struct {
	language string
	program  string
	run      []string // the command without the program
	needs    string   // what the set-up of the SDK makes, if there is one
	setup    string   // the command for that
}

var sdks = [...]sdk{
	{language: "Go", program: "./conformance/demo/sdk/go", run: []string{"go", "run"}},
	{
		language: "Python", program: "conformance/demo/sdk/python/main.py", run: []string{"sdks/python/.venv/bin/python"},
		needs: "sdks/python/.venv/bin/python", setup: "sdks/python/check --setup",
	},
	{
		language: "TypeScript", program: "conformance/demo/sdk/typescript/main.mjs", run: []string{"node"},
		needs: "sdks/typescript/dist/node/index.js", setup: "sdks/typescript/check --setup",
	},
}

// sdkStory is what each of the programs prints, with X for the id of the agent:
// the SDKs have one shape, and behave alike.
const sdkStory = `operator  is administrator
operator  registers the API https://orders.example.com
operator  registers orders-agent, whose role orders-reader gives it orders:read
agent     GET /orders: 200 orders for X
agent     POST /orders: 403 insufficient_scope
operator  rotates the secret of the agent, and the agent signs in with the new one
agent     GET /orders: 200 orders for X
operator  asks about the token of the agent: active true
operator  revokes it: active false
operator  stops the agent: disabled
agent     gets no token: authentication error, 401 invalid_client
`

var accountID = regexp.MustCompile(`sa_[0-9a-z]+`)

// bySDKs runs the programs. One whose SDK has not been set up is left out, or is
// a failure if all were asked for.
func (s *story) bySDKs() {
	s.chapter("The same story, by the SDKs",
		"An operator, an agent and an API of its own: one short program in each language, to read",
		"and to copy. Each finds this server by its profile, and removes what it has registered.")
	for _, sdk := range sdks {
		if s.err != nil {
			return
		}
		fmt.Fprintln(s.out)
		if _, err := os.Stat(sdk.needs); sdk.needs != "" && err != nil {
			s.say("%s is left out: `%s` sets its SDK up.", sdk.language, sdk.setup)
			s.check(!s.everySDK, "the %s SDK is not set up: run %s", sdk.language, sdk.setup)
			continue
		}
		s.bySDK(sdk)
	}
}

func (s *story) bySDK(sdk sdk) {
	command := append(slices.Clone(sdk.run), sdk.program)
	s.say("%s. By hand, while `make run` runs in another terminal:", sdk.language)
	s.say("$ XDG_CONFIG_HOME=.marque %s", strings.Join(command, " "))

	var told, complaint bytes.Buffer
	c := exec.CommandContext(s.ctx, command[0], command[1:]...)
	c.Env = append(withoutSettings(os.Environ()), "XDG_CONFIG_HOME="+s.server.dir)
	c.Stdout, c.Stderr = io.MultiWriter(&told, &indented{out: s.out}), &complaint
	err := c.Run()
	s.check(err == nil, "the %s program failed: %v\n%s", sdk.language, err, &complaint)
	s.check(accountID.ReplaceAllString(told.String(), "X") == sdkStory, "the %s program should have told:\n%s", sdk.language, sdkStory)
}

// indented puts what a program prints into the text of a chapter.
type indented struct {
	out    io.Writer
	inLine bool
}

func (w *indented) Write(text []byte) (int, error) {
	for line := range bytes.Lines(text) {
		if !w.inLine {
			fmt.Fprint(w.out, "     ")
		}
		w.inLine = !bytes.HasSuffix(line, []byte("\n"))
		if _, err := w.out.Write(line); err != nil {
			return 0, err
		}
	}
	return len(text), nil
}
