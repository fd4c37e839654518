package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// patience is how long an answer may take before the measurement fails.
const patience = 30 * time.Second

// shot is one measurement: how many requests were answered with 200, how fast.
type shot struct {
	rate     float64 // answered requests a second
	p50, p99 time.Duration
	bad      int64 // answers other than 200
}

// fire keeps connections busy with one request each, TLS keep-alive, no pause,
// for the given time after a warm-up of a fifth of it.
func fire(ctx context.Context, address string, config *tls.Config, requests [][]byte, connections int, length time.Duration) (shot, error) {
	c, err := connect(address, config, connections)
	if err != nil {
		return shot{}, err
	}
	defer c.close()
	return c.fire(ctx, requests, length)
}

// crowd are connections to one server.
type crowd []connection

type connection struct {
	*tls.Conn
	reader *bufio.Reader
}

func connect(address string, config *tls.Config, connections int) (crowd, error) {
	var c crowd
	for range connections {
		conn, err := tls.Dial("tcp", address, config)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		c = append(c, connection{conn, bufio.NewReaderSize(conn, 16<<10)})
	}
	return c, nil
}

func (c crowd) close() {
	for _, conn := range c {
		_ = conn.Close()
	}
}

// fire keeps the connections busy. The requests are rendered beforehand and dealt
// out in turn, so that the generator costs as little as it can: it shares its core
// with PostgreSQL. When it returns, everything that was asked is answered.
func (c crowd) fire(ctx context.Context, requests [][]byte, length time.Duration) (shot, error) {
	var (
		next, good, bad atomic.Int64
		measuring       atomic.Bool
		wait            sync.WaitGroup
		failure         = make(chan error, len(c))
		latencies       = make([][]time.Duration, len(c))
	)
	ctx, stop := context.WithTimeout(ctx, length+length/5)
	defer stop()
	giveUp := time.Now().Add(length + length/5 + patience)
	for n, conn := range c {
		wait.Go(func() {
			if err := conn.SetDeadline(giveUp); err != nil {
				failure <- err
				return
			}
			var response fasthttp.Response
			for ctx.Err() == nil {
				request := requests[int(next.Add(1))%len(requests)]
				sent := time.Now()
				if _, err := conn.Write(request); err != nil {
					failure <- err
					return
				}
				if err := response.Read(conn.reader); err != nil {
					failure <- err
					return
				}
				if !measuring.Load() {
					continue
				}
				if response.StatusCode() == fasthttp.StatusOK {
					good.Add(1)
					latencies[n] = append(latencies[n], time.Since(sent))
				} else {
					bad.Add(1)
				}
			}
		})
	}
	time.Sleep(length / 5)
	measuring.Store(true)
	began := time.Now()
	<-ctx.Done()
	measuring.Store(false)
	took := time.Since(began)
	wait.Wait()
	select {
	case err := <-failure:
		return shot{}, err
	default:
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	s := shot{rate: float64(good.Load()) / took.Seconds(), bad: bad.Load()}
	if len(all) > 0 {
		s.p50, s.p99 = all[len(all)/2], all[len(all)*99/100]
	}
	return s, nil
}

// maxRefused is how often a connection of once asks again after 503.
const maxRefused = 5

// once has each request answered with 200 one time; after 503 it is sent again.
func once(ctx context.Context, address string, config *tls.Config, requests [][]byte, connections int) error {
	c, err := connect(address, config, connections)
	if err != nil {
		return err
	}
	defer c.close()
	var next atomic.Int64
	var wait sync.WaitGroup
	failure := make(chan error, connections)
	for _, conn := range c {
		wait.Go(func() {
			failure <- func() error {
				var response fasthttp.Response
				refused := 0
				for at := next.Add(1) - 1; at < int64(len(requests)) && ctx.Err() == nil; {
					if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
						return err
					}
					if _, err := conn.Write(requests[at]); err != nil {
						return err
					}
					if err := response.Read(conn.reader); err != nil {
						return err
					}
					switch status := response.StatusCode(); {
					case status == fasthttp.StatusOK:
						at = next.Add(1) - 1
					case status == fasthttp.StatusServiceUnavailable && refused < maxRefused:
						refused++ // a disk that has stalled: the same again, as a client does
						time.Sleep(time.Second)
					default:
						return fmt.Errorf("status %d: %s", response.StatusCode(), response.Body())
					}
				}
				return ctx.Err()
			}()
		})
	}
	wait.Wait()
	close(failure)
	for err := range failure {
		if err != nil {
			return err
		}
	}
	return nil
}
