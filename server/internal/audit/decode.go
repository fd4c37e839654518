package audit

import (
	"net/netip"
	"strings"
)

// Decode reads canonical bytes back: for showing an event, and for verifying
// it. It accepts exactly what [AppendCanonical] writes for a normalized event.
// Types that are not in the list are accepted when they look like one, since a
// record may be older or newer than the program that reads it.
func Decode(canonical []byte) (chain string, seq int64, e Event, err error) {
	s := scanner{text: canonical}
	if s.expect(`{"v":`); s.err == nil && !s.try("1,") {
		return "", 0, Event{}, errorf("the event was written by a newer version of Marque")
	}
	s.expect(`"chain":`)
	chain = s.str()
	s.expect(`,"seq":`)
	seq = s.integer()
	s.expect(`,"id":`)
	e.ID = s.str()
	s.expect(`,"at":`)
	e.At = s.time()
	s.expect(`,"type":`)
	e.Type = Type(s.str())
	s.expect(`,"outcome":`)
	e.Outcome = Outcome(s.str())
	e.Reason = s.member(`,"reason":`)
	e.Actor = s.member(`,"actor":`)
	e.AccountID = s.member(`,"account_id":`)
	e.Subject = s.member(`,"subject":`)
	e.CredentialID = s.member(`,"credential_id":`)
	e.Audience = s.member(`,"audience":`)
	e.Scope = s.member(`,"scope":`)
	e.TokenID = s.member(`,"token_id":`)
	if text := s.member(`,"address":`); text != "" {
		e.Address, err = netip.ParseAddr(text)
		if err != nil {
			s.fail("the text before is not an address")
		}
	}
	e.RequestID = s.member(`,"request_id":`)
	e.TraceID = s.member(`,"trace_id":`)
	if s.try(`,"count":`) {
		e.Count = s.integer()
	}
	e.Details = s.details()
	s.expect("}")
	switch {
	case s.err != nil: // told below
	case chain == "" || seq < 1 || e.ID == "":
		s.fail("an event without chain, place or id")
	case !shaped(e.Type):
		s.fail("an event type is two words with a dot between them")
	case e.Outcome != Success && e.Outcome != Refused:
		s.fail("the outcome is neither success nor refused")
	}
	// Normalized, so that text no database would have taken is refused too.
	normal := e.Normalize()
	if err := s.end(AppendCanonical(make([]byte, 0, len(canonical)), chain, seq, &normal)); err != nil {
		return "", 0, Event{}, err
	}
	return chain, seq, e, nil
}

// details reads the optional last member.
func (s *scanner) details() map[string]string {
	if !s.try(`,"details":`) {
		return nil
	}
	m := make(map[string]string)
	s.expect("{")
	for s.err == nil {
		k := s.str()
		s.expect(":")
		m[k] = s.str()
		if !s.try(",") {
			break
		}
	}
	s.expect("}")
	return m
}

// shaped reports whether t looks like a type: two words with a dot between.
func shaped(t Type) bool {
	resource, verb, _ := strings.Cut(string(t), ".")
	const letters = "abcdefghijklmnopqrstuvwxyz_"
	return resource != "" && verb != "" && strings.Trim(resource, letters) == "" && strings.Trim(verb, letters) == ""
}

// ParseCheckpoint reads the payload of a signed checkpoint. It accepts exactly
// what [Checkpoint.AppendCanonical] writes.
func ParseCheckpoint(payload []byte) (Checkpoint, error) {
	s := scanner{text: payload}
	var c Checkpoint
	if s.expect(`{"v":`); s.err == nil && !s.try("1,") {
		return Checkpoint{}, errorf("the checkpoint was written by a newer version of Marque")
	}
	s.expect(`"id":`)
	c.ID = s.str()
	s.expect(`,"seq":`)
	c.Seq = s.integer()
	s.expect(`,"at":`)
	c.At = s.time()
	s.expect(`,"prev":`)
	c.Prev = s.hash()
	s.expect(`,"heads":[`)
	for s.err == nil && s.try(`{"chain":`) {
		var h Head
		h.Chain = s.str()
		s.expect(`,"seq":`)
		h.Seq = s.integer()
		s.expect(`,"hash":`)
		h.Hash = s.hash()
		s.expect("}")
		if n := len(c.Heads); n > 0 && c.Heads[n-1].Chain >= h.Chain {
			s.fail("the chains are not sorted, or one stands twice")
		}
		c.Heads = append(c.Heads, h)
		if !s.try(",") {
			break
		}
	}
	s.expect("]}")
	if err := s.end(c.AppendCanonical(make([]byte, 0, len(payload)))); err != nil {
		return Checkpoint{}, err
	}
	return c, nil
}
