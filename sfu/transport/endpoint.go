package transport

import (
	"net"
	"time"

	"github.com/pion/rtp"
)

type Config struct {
	Bind        Bind
	Certificate *Certificate
	Limits      Limits
}
type Limits struct{ Sessions int }
type OpenConfig struct {
	Local, Remote     Credentials
	RemoteFingerprint Fingerprint
}
type Inbound struct {
	Session SessionID
	RTCP    bool
	Data    []byte
}
type Stats struct{}
type StreamConn struct{}
type Endpoint struct{}

func NewEndpoint(cfg Config) (*Endpoint, error)                                          { return &Endpoint{}, nil }
func (e *Endpoint) Open(now time.Time, cfg OpenConfig) (SessionID, error)                { return 0, nil }
func (e *Endpoint) Close(now time.Time, id SessionID)                                    {}
func (e *Endpoint) Restart(now time.Time, id SessionID, local, remote Credentials) error { return nil }
func (e *Endpoint) Receive(now time.Time, d Datagram) (in Inbound, ok bool)              { return Inbound{}, false }
func (e *Endpoint) Poll(now time.Time, ev []Event) (_ []Event, next time.Time)           { return ev, now }
func (e *Endpoint) Read(dst []Datagram, deadline time.Time) (int, error)                 { return 0, nil }

// Slab returns room for a packet at the end of the session's batch: len 0, cap >= size. Marshal and seal into it, then Send it: no copy.
func (e *Endpoint) Slab(id SessionID, size int) []byte                                 { return nil }
func (e *Endpoint) SealRTP(id SessionID, buf []byte, h *rtp.Header) (n int, err error) { return 0, nil }
func (e *Endpoint) SealRTCP(id SessionID, buf []byte) ([]byte, error)                  { return nil, nil }
func (e *Endpoint) Send(id SessionID, data []byte, segment int)                        {}
func (e *Endpoint) Flush() (datagrams int)                                             { return 0 }
func (e *Endpoint) Stats() Stats                                                       { return Stats{} }
func (e *Endpoint) ServeTCP(l net.Listener) error                                      { return nil }

// Shutdown closes all sessions (close_notify) and waits for their goroutines. The Bind stays open.
func (e *Endpoint) Shutdown()                 {}
func NewUDPBind(c *net.UDPConn) (Bind, error) { return nil, nil }

// SealOverhead is what SealRTP adds at most, SealOverheadRTCP what SealRTCP adds at most.
const (
	SealOverhead     = 16
	SealOverheadRTCP = 20
)
