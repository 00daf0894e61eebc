package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	maxAddrs    = 32   // of one answer; nobody tries more
	maxChain    = 16   // CNAMEs in a row
	payloadSize = 1232 // EDNS size that is not fragmented on any path: DNS flag day 2020
)

// errMismatch is an answer to something else.
var errMismatch = errors.New("answer does not fit the question")

// newQuery asks for name with a random id. Not every server takes EDNS.
func newQuery(name string, ipv6, edns bool) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(name+".", qtype(ipv6))
	if edns {
		q.SetEdns0(payloadSize, false)
	}
	return q
}

func qtype(ipv6 bool) uint16 {
	if ipv6 {
		return dns.TypeAAAA
	}
	return dns.TypeA
}

// parseReply decodes b and checks that it answers q: anyone can send datagrams.
func parseReply(b []byte, q *dns.Msg) (*dns.Msg, error) {
	reply := new(dns.Msg)
	err := reply.Unpack(b)
	if reply.Id != q.Id || !reply.Response || reply.Opcode != dns.OpcodeQuery {
		return nil, errMismatch
	}
	if err != nil && !reply.Truncated { // a truncated one may end anywhere
		return nil, fmt.Errorf("bad answer: %w", err)
	}
	if len(reply.Question) == 0 && reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return reply, nil // servers that refuse a query do not always repeat it
	}
	if len(reply.Question) != 1 {
		return nil, errMismatch
	}
	want, got := q.Question[0], reply.Question[0]
	if got.Qtype != want.Qtype || got.Qclass != want.Qclass || !strings.EqualFold(got.Name, want.Name) {
		return nil, errMismatch
	}
	return reply, nil
}

// answerOf reads the addresses for the question of q.
func answerOf(q, reply *dns.Msg) (Answer, error) {
	switch reply.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeNameError:
		return Answer{TTL: negativeTTL(reply), NotFound: true}, nil
	default:
		return Answer{}, &RcodeError{reply.Rcode}
	}
	owner, ttl := q.Question[0].Name, uint32(1<<31-1) // RFC 2181 §8
	for range maxChain {
		var addrs []netip.Addr
		next := ""
		for _, rr := range reply.Answer {
			if !strings.EqualFold(rr.Header().Name, owner) {
				continue
			}
			addr, ok := addrOf(rr, q.Question[0].Qtype)
			if ok && len(addrs) < maxAddrs {
				addrs = append(addrs, addr)
			}
			alias, isAlias := rr.(*dns.CNAME)
			if isAlias {
				next = alias.Target
			}
			if ok || isAlias {
				ttl = min(ttl, rr.Header().Ttl)
			}
		}
		if len(addrs) > 0 {
			return Answer{Addrs: addrs, TTL: time.Duration(ttl) * time.Second}, nil
		}
		if next == "" {
			break
		}
		owner = next
	}
	return Answer{TTL: negativeTTL(reply)}, nil
}

// addrOf returns the address in rr. 0.0.0.0 and ::, with which filters answer, are none: connecting
// to them would reach this very host. Nor is IPv4 inside an AAAA record.
func addrOf(rr dns.RR, qtype uint16) (netip.Addr, bool) {
	var addr netip.Addr
	switch rr := rr.(type) {
	case *dns.A:
		addr, _ = netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		addr, _ = netip.AddrFromSlice(rr.AAAA.To16())
	}
	fits := addr.Is4() && qtype == dns.TypeA || addr.Is6() && qtype == dns.TypeAAAA
	return addr, fits && !addr.IsUnspecified() && !addr.Is4In6()
}

// silentTTL is how long "no" holds when the answer does not say.
const silentTTL = 5 * time.Second

// negativeTTL is how long "no" holds (RFC 2308 §5).
func negativeTTL(reply *dns.Msg) time.Duration {
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return time.Duration(min(soa.Hdr.Ttl, soa.Minttl)) * time.Second
		}
	}
	return silentTTL
}

// exchanger sends one query and waits for its reply.
type exchanger func(q *dns.Msg) (*dns.Msg, error)

// lookup asks with EDNS, and without when the server does not understand it.
func lookup(name string, ipv6 bool, exchange exchanger) (Answer, error) {
	q := newQuery(name, ipv6, true)
	reply, err := exchange(q)
	if err != nil {
		return Answer{}, err
	}
	switch reply.Rcode {
	case dns.RcodeFormatError, dns.RcodeNotImplemented, dns.RcodeBadVers:
		q = newQuery(name, ipv6, false)
		if reply, err = exchange(q); err != nil {
			return Answer{}, err
		}
	}
	return answerOf(q, reply)
}
