package feed

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/marque-id/marque/server/internal/store"
)

// The comments that stand where a heartbeat would. A follower that hears no
// heartbeat knows by itself what to do; these are for who reads along.
const (
	staleComment  = ": this node cannot tell whether it has missed revocations of other nodes; no heartbeat until it can\n\n"
	behindComment = ": this node has not seen yet what the follower has; no heartbeat until it has\n\n"
)

// The data of the events, as the contract has them.
type (
	hello struct {
		Position  string `json:"position"`
		Heartbeat int64  `json:"heartbeat"`
		Retry     int64  `json:"retry"`
	}
	position struct {
		Position string `json:"position"`
	}
	revoked struct {
		Kind      string    `json:"kind"`
		ID        string    `json:"id"`
		Gen       int64     `json:"gen,omitzero"`
		Audience  string    `json:"audience,omitzero"`
		RevokedAt time.Time `json:"revoked_at"`
		ExpiresAt time.Time `json:"expires_at"`
	}
)

func text(at int64) string { return strconv.FormatInt(at, 10) }

// appendEvent writes an event (WHATWG HTML, section 9.2.6). JSON has no line
// breaks, so that the data is one line. A negative id is none.
func appendEvent(b []byte, id int64, name string, data any) []byte {
	if id >= 0 {
		b = append(b, "id: "...)
		b = strconv.AppendInt(b, id, 10)
		b = append(b, '\n')
	}
	b = append(b, "event: "...)
	b = append(b, name...)
	b = append(b, "\ndata: "...)
	body, err := json.Marshal(data)
	if err != nil { // the types above always marshal
		panic(err)
	}
	b = append(b, body...)
	return append(b, "\n\n"...)
}

func appendRetry(b []byte, again time.Duration) []byte {
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, again.Milliseconds(), 10)
	return append(b, '\n')
}

func helloEvent(at int64, heartbeat, again time.Duration) []byte {
	return appendEvent(appendRetry(nil, again), at, "hello", hello{text(at), int64(heartbeat / time.Second), again.Milliseconds()})
}

// resetEvents give no position to come back with: whoever overlooks the reset is
// told again.
func resetEvents(at int64, heartbeat, again time.Duration) []byte {
	b := appendEvent(appendRetry(nil, again), -1, "hello", hello{text(at), int64(heartbeat / time.Second), again.Milliseconds()})
	return appendEvent(b, -1, "reset", position{text(at)})
}

func heartbeatEvent(at int64) []byte {
	return appendEvent(nil, at, "heartbeat", position{text(at)})
}

func revokedEvent(a *store.Announced) []byte {
	return appendEvent(nil, a.Position, "revoked", revoked{
		Kind: string(a.Kind), ID: a.ID, Gen: a.Gen, Audience: a.Audience, RevokedAt: a.RevokedAt, ExpiresAt: a.ExpiresAt,
	})
}
