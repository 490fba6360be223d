package signal

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"sotto/signal/rate"
)

// errFlood ends the reading of a connection that sends too many bytes.
var errFlood = errors.New("signal: byte rate exceeded")

// meter counts the bytes that a client sends, whatever they are: frames
// without payload and control frames never become messages, so the message
// rate does not see them.
type meter struct {
	net.Conn
	bucket rate.Bucket // the reading goroutine's
	over   atomic.Bool // the rate was exceeded: every read fails
}

func (m *meter) Read(p []byte) (int, error) {
	if m.over.Load() {
		return 0, errFlood
	}
	n, err := m.Conn.Read(p)
	if !m.bucket.Take(time.Now(), float64(n)) {
		m.over.Store(true)
		return 0, errFlood
	}
	return n, err
}

// metered hands the WebSocket library a metered connection.
type metered struct {
	http.ResponseWriter
	meter *meter
}

// Hijack implements http.Hijacker.
func (w metered) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.meter.Conn = conn
	return w.meter, rw, nil
}
