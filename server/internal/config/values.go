package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// off is how a listener is left out: an empty value is more often a mistake
// than a wish.
const off = "off"

func orOff(v string) string {
	if v == "" {
		return off
	}
	return v
}

func setOperationsListen(c *Config, v string) error {
	c.Operations.Listen = v
	if v == off {
		c.Operations.Listen = ""
		return nil
	}
	return checkHostPort(v)
}

func setBool(to *bool, v string) error {
	switch v {
	case "true", "false":
		*to = v == "true"
		return nil
	}
	return fmt.Errorf("%q is neither true nor false", v)
}

// setNetworks reads addresses and networks. One whose address has bits beyond
// its prefix is refused: either of the two is not what was meant.
func setNetworks(to *[]netip.Prefix, v string) error {
	for field := range strings.SplitSeq(v, ",") {
		text := strings.TrimSpace(field)
		if !strings.Contains(text, "/") {
			addr, err := netip.ParseAddr(text)
			if err != nil || addr.Zone() != "" {
				return fmt.Errorf("%q is no address and no network such as 10.0.0.0/8", text)
			}
			addr = addr.Unmap()
			*to = append(*to, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			return fmt.Errorf("%q is no network such as 10.0.0.0/8", text)
		case network.Addr().Is4In6():
			return fmt.Errorf("%s: write an IPv4 network as one", text)
		case network != network.Masked():
			return fmt.Errorf("%s has bits beyond its prefix: is it %s that is meant?", text, network.Masked())
		case network.Bits() == 0:
			return fmt.Errorf("%s is everybody: name the proxies", text)
		}
		*to = append(*to, network)
	}
	return nil
}

func showNetworks(networks []netip.Prefix) string {
	texts := make([]string, len(networks))
	for i, n := range networks {
		texts[i] = n.String()
		if n.IsSingleIP() {
			texts[i] = n.Addr().String()
		}
	}
	return strings.Join(texts, ", ")
}
