package proxy

import (
	"net/netip"
	"strings"
)

// Forwarded reads the client's address from the header that the listed proxies
// write. The zero value trusts nobody.
type Forwarded struct {
	// From are the listed proxies.
	From []netip.Prefix
	// RFC7239 tells that they write Forwarded; else they write X-Forwarded-For.
	// Only one of the two is ever read: a proxy that writes one passes the other
	// through as the client sent it.
	RFC7239 bool
}

// Header is the name of the header that is read.
func (f *Forwarded) Header() string {
	if f.RFC7239 {
		return "Forwarded"
	}
	return "X-Forwarded-For"
}

// Trusts reports whether the header is read at all on a connection from peer.
func (f *Forwarded) Trusts(peer netip.Addr) bool { return listed(f.From, peer) }

// Client is the address of the client, given the peer of the connection and the
// values of the header in the order in which they came. Each proxy adds the
// peer that it saw at the right end, so that reading from there, the first
// address that is not of a listed proxy is the last one that somebody vouches
// for: what stands further left is the client's own invention. Where an entry
// is no address, the proxy that wrote it is all that is known.
func (f *Forwarded) Client(peer netip.Addr, values []string) netip.Addr {
	if !f.Trusts(peer) {
		return peer
	}
	client := peer
	for v := len(values) - 1; v >= 0; v-- {
		entries := values[v]
		for more := true; more; {
			var entry string
			entry, entries, more = cutLast(entries)
			if f.RFC7239 {
				entry = forParameter(entry)
			}
			addr, ok := parseNode(entry)
			if !ok {
				return client
			}
			client = addr
			if !listed(f.From, addr) {
				return client
			}
		}
	}
	return client
}

// cutLast takes the last entry of a list off. A comma in a quoted string cuts
// too, which makes two entries of it that are no addresses.
func cutLast(list string) (last, rest string, more bool) {
	if i := strings.LastIndexByte(list, ','); i >= 0 {
		return strings.TrimSpace(list[i+1:]), list[:i], true
	}
	return strings.TrimSpace(list), "", false
}

// forParameter is the value of "for" in an element such as
// for="[2001:db8::1]:4711";proto=https (RFC 7239 section 4). Twice is once too
// often, and then there is none.
func forParameter(element string) string {
	value, found := "", false
	for pair := range strings.SplitSeq(element, ";") {
		name, v, _ := strings.Cut(pair, "=")
		if strings.EqualFold(strings.TrimSpace(name), "for") {
			if found {
				return ""
			}
			value, found = strings.TrimSpace(v), true
		}
	}
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	return value
}

// parseNode reads an address, with or without a port and brackets.
func parseNode(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap(), addr.Zone() == ""
	}
	if n := len(s); n > 2 && s[0] == '[' && s[n-1] == ']' {
		addr, err := netip.ParseAddr(s[1 : n-1])
		return addr.Unmap(), err == nil && addr.Zone() == ""
	}
	if pair, err := netip.ParseAddrPort(s); err == nil {
		return pair.Addr().Unmap(), pair.Addr().Zone() == ""
	}
	return netip.Addr{}, false
}
