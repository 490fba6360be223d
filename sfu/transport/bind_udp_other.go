//go:build !linux

package transport

import "net"

// NewUDPBind makes a Bind of conn, which it owns from then on. The kernel
// buffers are enlarged as far as the system allows. There is nothing to offload
// to but on Linux.
func NewUDPBind(conn *net.UDPConn, _ Offload) (Bind, error) {
	enlargeBuffers(conn)
	return NewPacketBind(conn), nil
}
