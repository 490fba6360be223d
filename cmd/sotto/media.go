package main

import (
	"fmt"
	"net"
	"net/netip"

	"sotto/sfu"
)

// listenMedia opens the media ports: number of them, on consecutive port numbers, each for UDP and TCP. It returns them with the
// addresses to advertise, and the first port's number.
func listenMedia(address string, number int, advertise []string, offload string) (_ []sfu.ShardConfig, port uint16, err error) {
	first, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, 0, fmt.Errorf("media address: %w", err)
	}
	addrs, err := mediaAddresses(first.IP, advertise)
	if err != nil {
		return nil, 0, err
	}
	var shards []sfu.ShardConfig
	defer func() {
		if err != nil {
			for _, s := range shards {
				_, _ = s.Conn.Close(), s.TCP.Close()
			}
		}
	}()
	for i := range number {
		a := *first
		if a.Port != 0 {
			a.Port += i
		}
		s, own, err := listenShard(&a, addrs)
		if err != nil {
			return nil, 0, err
		}
		if i == 0 {
			port = own
		}
		s.Offload = offload
		shards = append(shards, s)
	}
	return shards, port, nil
}

// listenShard opens one port number for UDP and TCP.
func listenShard(a *net.UDPAddr, advertise []netip.Addr) (sfu.ShardConfig, uint16, error) {
	var (
		udp *net.UDPConn
		tcp *net.TCPListener
		err error
	)
	// A free UDP port may be taken for TCP: draw again, a few times.
	for try := 0; ; try++ {
		udp, err = net.ListenUDP("udp", a)
		if err != nil {
			return sfu.ShardConfig{}, 0, fmt.Errorf("media port: %w", err)
		}
		tcp, err = net.ListenTCP("tcp", &net.TCPAddr{IP: a.IP, Zone: a.Zone, Port: udp.LocalAddr().(*net.UDPAddr).Port})
		if err == nil {
			break
		}
		_ = udp.Close()
		if a.Port != 0 || try == 9 {
			return sfu.ShardConfig{}, 0, fmt.Errorf("media port over TCP: %w", err)
		}
	}
	port := udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	candidates := make([]netip.AddrPort, len(advertise))
	for i, ip := range advertise {
		candidates[i] = netip.AddrPortFrom(ip, port)
	}
	return sfu.ShardConfig{Conn: udp, TCP: tcp, Candidates: candidates, TCPCandidates: candidates}, port, nil
}

// mediaAddresses returns the addresses to put into answers: those that were asked for, else the bound one, else every address
// of this machine that is not loopback, since Firefox never pairs with a loopback candidate. A machine without a network gets
// loopback: Chromium works there.
func mediaAddresses(bound net.IP, advertise []string) ([]netip.Addr, error) {
	var found []netip.Addr
	for _, text := range advertise {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("advertise: %w", err)
		}
		found = append(found, a)
	}
	if len(found) > 0 {
		return found, nil
	}
	if a, ok := netip.AddrFromSlice(bound); ok && !a.IsUnspecified() {
		return []netip.Addr{a.Unmap()}, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	for _, ia := range all {
		prefix, err := netip.ParsePrefix(ia.String())
		if err != nil {
			continue
		}
		a := prefix.Addr().Unmap()
		if a.IsGlobalUnicast() && (!bound.Equal(net.IPv4zero) || a.Is4()) {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		found = append(found, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return found, nil
}
