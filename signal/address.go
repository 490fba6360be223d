package signal

import (
	"net/http"
	"net/netip"
	"time"

	"sotto/signal/rate"
)

// address is what one client address has open and may open. Guarded by Server.mu.
type address struct {
	open int
	away int // members that had their connection from here and have none now
	rate rate.Bucket
}

func (e *address) idle(now time.Time) bool { return e.open == 0 && e.away == 0 && e.rate.Full(now) }

// addresses bounds what one client address opens. Guarded by Server.mu.
type addresses struct {
	maxOpen, perSecond, maxTable int
	loopbackFree                 bool
	table                        map[netip.Addr]*address
}

// open counts a new connection, or says why it is refused.
func (a *addresses) open(now time.Time, ip netip.Addr) (refused string) {
	if !a.limited(ip) {
		return ""
	}
	ip = prefix(ip)
	e := a.table[ip]
	if e == nil {
		if len(a.table) >= a.maxTable {
			a.forget(now)
		}
		if len(a.table) >= a.maxTable {
			return refusedFull
		}
		e = &address{rate: rate.New(a.perSecond, a.perSecond)}
		a.table[ip] = e
	}
	switch {
	case !e.rate.Take(now, 1):
		return refusedAddressRate
	case e.open >= a.maxOpen:
		return refusedAddressOpen
	}
	e.open++
	return ""
}

// closed counts a connection less.
func (a *addresses) closed(now time.Time, ip netip.Addr) {
	if !a.limited(ip) {
		return
	}
	ip = prefix(ip)
	e := a.table[ip]
	e.open--
	if e.idle(now) {
		delete(a.table, ip)
	}
}

// keep counts a member that lost its connection, or reports that the address
// has too many of them: who joins and breaks off again and again must not fill
// a room with those who may come back. Its connection counts still.
func (a *addresses) keep(ip netip.Addr) bool {
	if !a.limited(ip) {
		return true
	}
	e := a.table[prefix(ip)]
	if e.away >= a.maxOpen {
		return false
	}
	e.away++
	return true
}

// back counts such a member less, which is back or gone.
func (a *addresses) back(now time.Time, ip netip.Addr) {
	if !a.limited(ip) {
		return
	}
	e := a.table[prefix(ip)]
	e.away--
	if e.idle(now) {
		delete(a.table, prefix(ip))
	}
}

// forget drops the addresses that have nothing open and their rate back.
func (a *addresses) forget(now time.Time) {
	for ip, e := range a.table {
		if e.idle(now) {
			delete(a.table, ip)
		}
	}
}

// limited says whether an address is bounded. No address is a transport
// without any.
func (a *addresses) limited(ip netip.Addr) bool {
	return ip.IsValid() && !(a.loopbackFree && ip.Unmap().IsLoopback())
}

// client is what an address is bounded as, zero if it is not.
func (a *addresses) client(ip netip.Addr) netip.Addr {
	if !a.limited(ip) {
		return netip.Addr{}
	}
	return prefix(ip)
}

// prefix is what one client owns: an IPv4 address or an IPv6 /64.
func prefix(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return ip
	}
	return p.Addr()
}

// remoteAddress is the address at the other end of the connection.
func remoteAddress(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
