package protocol

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// answerTimeout is how long a driver may take for one answer: timeouts of cases
// are fractions of a second, so that only a driver that hangs takes this long.
const answerTimeout = 60 * time.Second

// Driver is a running driver. It answers one request at a time.
type Driver struct {
	SDK     string
	Version string

	process *exec.Cmd
	in      io.WriteCloser
	answers chan []byte
	ended   chan error
	log     log
	next    int
}

// Start starts a driver and says hello.
func Start(ctx context.Context, dir string, command ...string) (*Driver, error) {
	d := &Driver{answers: make(chan []byte, 1), ended: make(chan error, 1)}
	d.process = exec.CommandContext(ctx, command[0], command[1:]...)
	d.process.Dir = dir
	d.process.Env = environment()
	d.process.Stderr = &d.log
	// A group of its own: a driver that must be killed takes along what a script started for it.
	d.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	d.process.Cancel = func() error { return syscall.Kill(-d.process.Process.Pid, syscall.SIGKILL) }
	d.process.WaitDelay = 5 * time.Second
	out, err := d.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if d.in, err = d.process.StdinPipe(); err != nil {
		return nil, err
	}
	if err := d.process.Start(); err != nil {
		return nil, fmt.Errorf("the driver %s: %w", command[0], err)
	}
	go d.read(out)
	answer, err := d.Ask(Request{"op": "hello", "protocol": 1})
	if err != nil {
		d.Kill()
		return nil, err
	}
	var hello struct{ SDK, Version string }
	if err := json.Unmarshal(answer.OK, &hello); err != nil {
		d.Kill()
		return nil, fmt.Errorf("the driver %s does not say hello: %+v", command[0], answer)
	}
	d.SDK, d.Version = hello.SDK, hello.Version
	return d, nil
}

// environment is that of this process without settings of Marque.
func environment() []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "MARQUE_") && !strings.HasPrefix(variable, "XDG_CONFIG_HOME=") {
			env = append(env, variable)
		}
	}
	return append(env, "XDG_CONFIG_HOME=/nonexistent")
}

func (d *Driver) read(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			d.ended <- d.process.Wait()
			close(d.answers)
			return
		}
		d.answers <- text
	}
}

// ErrBroken is a driver that no further request can be sent to: it ended, did
// not answer, or broke the protocol.
var ErrBroken = errors.New("the driver is of no use any more")

// Ask sends one request and returns the answer.
func (d *Driver) Ask(request Request) (Answer, error) {
	d.next++
	message := Request{"id": d.next}
	for name, value := range request {
		message[name] = value
	}
	text, err := json.Marshal(message)
	if err != nil {
		return Answer{}, err
	}
	if err := check("request", text); err != nil {
		return Answer{}, fmt.Errorf("the runner breaks the protocol with %s: %w", text, err)
	}
	if _, err := d.in.Write(append(text, '\n')); err != nil {
		return Answer{}, d.gone()
	}
	select {
	case got, open := <-d.answers:
		if !open {
			return Answer{}, d.gone()
		}
		return d.parse(request, got)
	case <-time.After(answerTimeout):
		return Answer{}, fmt.Errorf("%w: no answer to %s within %s\n%s", ErrBroken, request.Op(), answerTimeout, d.Log())
	}
}

// gone is the error of a driver that has ended, or does not read any more.
func (d *Driver) gone() error {
	var how error
	select {
	case how = <-d.ended:
		d.ended <- how
	case <-time.After(5 * time.Second):
		how = errors.New("it reads nothing and does not end")
	}
	return fmt.Errorf("%w: it ended (%v)\n%s", ErrBroken, how, d.Log())
}

func (d *Driver) parse(request Request, text []byte) (Answer, error) {
	if err := check("answer", text); err != nil {
		return Answer{}, fmt.Errorf("%w: it breaks the protocol with %.2000s: %v", ErrBroken, text, err)
	}
	var got struct {
		ID int `json:"id"`
		Answer
	}
	if err := json.Unmarshal(text, &got); err != nil {
		return Answer{}, fmt.Errorf("%w: %v", ErrBroken, err)
	}
	if got.ID != d.next {
		return Answer{}, fmt.Errorf("%w: it answers request %d with id %d", ErrBroken, d.next, got.ID)
	}
	if err := checkResult(request, got.Answer); err != nil {
		return Answer{}, fmt.Errorf("%w: its ok breaks the protocol with %.2000s: %v", ErrBroken, text, err)
	}
	return got.Answer, nil
}

// Log is the end of what the driver wrote to standard error.
func (d *Driver) Log() string { return d.log.String() }

// TakeLog is what it wrote since the last time.
func (d *Driver) TakeLog() string { return d.log.take() }

// Stop ends the input, waits until the driver has ended, and says how.
func (d *Driver) Stop() error {
	_ = d.in.Close()
	select {
	case err := <-d.ended:
		return err
	case <-time.After(10 * time.Second):
		d.Kill()
		return fmt.Errorf("%w: it did not end with its input", ErrBroken)
	}
}

// Kill ends the driver at once.
func (d *Driver) Kill() {
	_ = d.process.Cancel()
	_ = d.in.Close()
}

// log keeps the end of standard error.
type log struct {
	mu   sync.Mutex
	text []byte
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	const most = 256 << 10
	l.text = l.text[max(0, len(l.text)-most):]
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

func (l *log) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := string(l.text)
	l.text = nil
	return text
}
