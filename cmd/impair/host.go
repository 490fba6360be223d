//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// The addresses of the network; nobody outside its namespaces sees them.
var (
	middleAddress = netip.AddrFrom4([4]byte{10, 98, 0, 1})
	firstHost     = byte(11)
)

// host is a network namespace with one device, whose other end is a file: what the namespace's programs send is read from it,
// what is written to it they receive. One read or write is one IP packet.
type host struct {
	namespace string
	address   netip.Addr
	device    *os.File
}

// openHost makes the namespace and its device. The device is made here and moved, since a file descriptor keeps its device
// wherever that goes.
func openHost(name string, address netip.Addr) (*host, error) {
	h := &host{namespace: fmt.Sprintf("sotto-%d-%s", os.Getpid(), name), address: address}
	if err := ip("netns", "add", h.namespace); err != nil {
		return nil, err
	}
	device := fmt.Sprintf("so%d-%d", os.Getpid(), address.As4()[3]) // 15 bytes at most
	file, err := openTUN(device)
	if err != nil {
		h.close()
		return nil, err
	}
	h.device = file
	for _, args := range [][]string{
		{"link", "set", device, "netns", h.namespace},
		{"-n", h.namespace, "link", "set", device, "name", "link0"},
		{"-n", h.namespace, "address", "add", address.String() + "/24", "dev", "link0"},
		{"-n", h.namespace, "link", "set", "lo", "up"},
		{"-n", h.namespace, "link", "set", "link0", "mtu", "1500", "txqueuelen", "2000", "up"},
		{"-n", h.namespace, "route", "add", "default", "via", middleAddress.String()}, // browsers look for the address of the default route
	} {
		if err := ip(args...); err != nil && !(address == middleAddress && args[2] == "route") {
			h.close()
			return nil, err
		}
	}
	return h, nil
}

func (h *host) close() {
	if h.device != nil {
		_ = h.device.Close()
	}
	_ = ip("netns", "delete", h.namespace)
}

// openTUN makes a device of whole IP packets, without a header before them.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("TUN device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// destination returns where an IPv4 packet goes; false for everything else.
func destination(packet []byte) (netip.Addr, bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(packet[16:20])), true
}
