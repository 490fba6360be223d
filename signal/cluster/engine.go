package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// EngineConfig says who may reach an Engine.
type EngineConfig struct {
	// Listen is the TCP address for nodes, "host:port"; empty = this process alone.
	Listen string
	// Secret is shared by the members of the cluster, at least MinSecret bytes. Without Listen it may be nil.
	Secret []byte
}

// Engine is a NATS server in this process: memory only, silent, no other port than that for nodes.
type Engine struct {
	server      *server.Server
	credentials *credentials // nil without a secret
}

// StartEngine starts the server and waits until it takes connections.
func StartEngine(c EngineConfig) (*Engine, error) {
	o := &server.Options{
		ServerName: "sotto", NoLog: true, NoSigs: true, DontListen: c.Listen == "",
		MaxPayload: maxMessage, MaxPending: 64 << 20, MaxConn: 1024, MaxSubs: 4096, MaxControlLine: 1024,
		// A peer whose machine vanished is noticed within half a minute.
		PingInterval: 10 * time.Second, MaxPingsOut: 2, WriteDeadline: 5 * time.Second,
		AuthTimeout: 2, TLSTimeout: 2,
	}
	e := &Engine{}
	if c.Secret != nil {
		var err error
		if e.credentials, err = deriveCredentials(c.Secret); err != nil {
			return nil, err
		}
		o.Nkeys = []*server.NkeyUser{{Nkey: e.credentials.userPublic, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"sotto.v1.>", "_INBOX.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"sotto.v1.>", "_INBOX.>"}},
		}}}
		o.TLS, o.TLSVerify, o.TLSConfig = true, true, e.credentials.tlsConfig()
	}
	if c.Listen != "" {
		if e.credentials == nil {
			return nil, fmt.Errorf("%w: an engine that listens needs a secret", ErrConfig)
		}
		addr, err := net.ResolveTCPAddr("tcp", c.Listen)
		if err != nil {
			return nil, fmt.Errorf("%w: engine address", ErrConfig)
		}
		o.Host, o.Port = "0.0.0.0", addr.Port
		if addr.IP != nil {
			o.Host = addr.IP.String()
		}
		if addr.Port == 0 {
			o.Port = server.RANDOM_PORT
		}
		// The server would end the process or only log when it cannot listen: try before.
		probe, err := net.ListenTCP("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("cluster: engine: %w", err)
		}
		_ = probe.Close()
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("cluster: engine: %w", err)
	}
	e.server = s
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		e.Close()
		return nil, errors.New("cluster: engine does not start")
	}
	return e, nil
}

// Addr is where nodes reach the engine; invalid without Listen.
func (e *Engine) Addr() netip.AddrPort {
	a, ok := e.server.Addr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return a.AddrPort()
}

// Connect opens a connection within the process. The caller closes it.
func (e *Engine) Connect(name string) (*nats.Conn, error) {
	opts := append(connectOptions(name), nats.InProcessServer(e.server))
	if e.credentials != nil {
		opts = append(opts, nats.Nkey(e.credentials.userPublic, e.credentials.user.Sign))
	}
	nc, err := nats.Connect("", opts...)
	if err != nil {
		return nil, fmt.Errorf("cluster: engine: %w", err)
	}
	return nc, nil
}

// Close stops the server and returns when it has.
func (e *Engine) Close() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// ConnectConfig says where an engine of another process is.
type ConnectConfig struct {
	// URL is "host:port" or "nats://…", or several with commas between.
	URL string
	// Secret is that of the engine's cluster. Nil is for a NATS service of one's own, which is then reached as URL and
	// Credentials say: "tls://…" for TLS with the system's authorities.
	Secret []byte
	// Credentials is a NATS credentials file (JWT and seed); empty = none.
	Credentials string
	// Name is shown by the engine's monitoring.
	Name string
	// Logger is told when the connection comes and goes, without an address. Nil is silent.
	Logger *zap.Logger
}

// Connect connects to an engine, and goes on trying in the background when it is away, now or later. The caller closes the
// connection.
func Connect(c ConnectConfig) (*nats.Conn, error) {
	if c.URL == "" {
		return nil, fmt.Errorf("%w: no engine address", ErrConfig)
	}
	log := c.Logger
	if log == nil {
		log = zap.NewNop()
	}
	opts := append(connectOptions(c.Name), nats.RetryOnFailedConnect(true),
		nats.ConnectHandler(func(*nats.Conn) { log.Info("engine connected") }),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("engine connected again") }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, _ error) {
			if !nc.IsClosed() {
				log.Warn("engine connection lost")
			}
		}))
	if c.Secret != nil {
		keys, err := deriveCredentials(c.Secret)
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.Secure(keys.tlsConfig()), nats.Nkey(keys.userPublic, keys.user.Sign))
	}
	if c.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Credentials))
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		// The error of the library may name the URL, which may hold a password.
		return nil, fmt.Errorf("%w: engine refused or address malformed", ErrConfig)
	}
	return nc, nil
}

func connectOptions(name string) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		// Wrong credentials may be right after the other side's restart: never give up.
		nats.IgnoreAuthErrorAbort(),
		// What could not be sent is not sent later: its number is missing and makes the other side take a snapshot.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.Timeout(2 * time.Second), nats.FlusherTimeout(5 * time.Second),
		// The default writes to standard error, with addresses.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}
}
