package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"sotto/cmd/sotto/internal/config"
	"sotto/sfu"
	"sotto/signal/cluster"
	"sotto/signal/web"
)

// machine looks at what the system grants every service.
func (d *doctor) machine(command string) {
	// A WebSocket is a file each; of media only what comes over TCP is.
	wanted := uint64(4096)
	if command == config.Signal {
		wanted = 16384
	}
	switch n, ok := fileLimit(); {
	case !ok:
	case n < wanted:
		d.find("open files", warning, "LimitNOFILE=65536 in the unit, or ulimit -n", "at most %d", n)
	default:
		d.fine("open files", "at most %d", n)
	}
	switch synced, ok := clockSynced(); {
	case !ok:
	case !synced:
		d.find("clock", warning, "run a time service (systemd-timesyncd, chrony): join tokens and certificates have dates", "is not synchronised")
	default:
		d.fine("clock", "is synchronised")
	}
}

// socketBuffer is what a media socket asks for in each direction, in bytes: the packets of some tens of milliseconds.
const socketBuffer = 4 << 20

// media opens the media ports as the node does.
func (d *doctor) media() {
	c := d.config
	shards, port, err := listenMedia(c.MediaListen, c.Shards, c.Advertise, c.SocketOffload)
	if err != nil {
		d.port("media ports", "media-listen", err)
		return
	}
	if c.Shards > 1 {
		d.fine("media ports", "%d to %d, UDP and TCP, can be opened", port, int(port)+c.Shards-1)
	} else {
		d.fine("media ports", "%d, UDP and TCP, can be opened", port)
	}
	d.addresses(shards[0].Candidates)
	receive, send, known := socketBuffers(shards[0].Conn.(*net.UDPConn), socketBuffer)
	node, err := sfu.New(sfu.Config{Shards: shards}) // owns the sockets
	if err != nil {
		d.find("media node", failure, "", "%v", err)
		return
	}
	paths := node.Stats().SocketPaths
	_ = node.Close()
	switch {
	case !known:
	case receive < socketBuffer || send < socketBuffer:
		d.find("socket buffers", warning, "sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304, and the same in /etc/sysctl.d",
			"the kernel grants %d KiB to receive and %d to send, 4096 hold bursts", receive>>10, send>>10)
	default:
		d.fine("socket buffers", "%d MiB in each direction", socketBuffer>>20)
	}
	switch {
	case paths["segment"] > 0:
		d.fine("offload", "packets go into the kernel in runs (UDP_SEGMENT)")
	case c.SocketOffload != "auto":
		d.fine("offload", "is off, as socket-offload says")
	default:
		d.find("offload", warning, "a Linux kernel of 4.18 or later has it; without, a packet costs several times as much", "the kernel takes packets one by one")
	}
}

// port tells of a port that cannot be opened.
func (d *doctor) port(check, key string, err error) {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		d.find(check, warning, "fine if that is this service running; else change "+key, "in use")
	case errors.Is(err, syscall.EACCES):
		d.find(check, failure, "ports below 1024 need AmbientCapabilities=CAP_NET_BIND_SERVICE", "%v", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		d.find(check, failure, "it is no address of this machine: change "+key, "%v", err)
	default:
		d.find(check, failure, "change "+key, "%v", err)
	}
}

// addresses looks at what browsers are told to send media to.
func (d *doctor) addresses(candidates []netip.AddrPort) {
	var public, private, loopback []string
	for _, a := range candidates {
		switch ip := a.Addr(); {
		case ip.IsLoopback():
			loopback = append(loopback, ip.String())
		case ip.IsPrivate() || ip.IsLinkLocalUnicast() || carrierNAT.Contains(ip):
			private = append(private, ip.String())
		default:
			public = append(public, ip.String())
		}
	}
	const advice = "set advertise to the public address, and forward the media ports to this machine"
	switch {
	case len(public) > 0:
		d.fine("advertise", "browsers are told %s", strings.Join(public, ", "))
	case len(private) > 0:
		d.find("advertise", warning, advice, "only this network can reach %s", strings.Join(private, ", "))
	default:
		d.find("advertise", warning, advice, "only this machine can reach %s, and Firefox not even there", strings.Join(loopback, ", "))
	}
}

// carrierNAT is RFC 6598.
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// engine looks for the engine in another process, and at who is there already.
func (d *doctor) engine(ctx context.Context) {
	nc, err := reachEngine(ctx, d.config, "sotto doctor")
	if err != nil {
		d.find("engine", failure, "start sotto signal, let its cluster-listen be reachable from here, give both the same cluster-secret", "%v", err)
		return
	}
	defer nc.Close()
	remote, err := cluster.NewRemote(nc, cluster.RemoteConfig{Timing: cluster.Timing{Settle: lookTime}})
	if err != nil {
		d.find("engine", failure, "", "%v", err)
		return
	}
	defer remote.Close()
	select {
	case <-time.After(lookTime):
	case <-ctx.Done():
	}
	nodes := remote.Overview()
	d.fine("engine", "at %s answers, %d media nodes are there", d.config.ClusterURL, len(nodes))
	for _, n := range nodes {
		if n.ID == d.config.NodeID {
			d.find("node id", warning, "fine if that is this service running; else two nodes have one id, and the younger one will not start", "%s is live", n.ID)
		}
	}
}

// signalEngine looks at the engine that signaling has in its process, or reaches.
func (d *doctor) signalEngine(ctx context.Context) {
	if d.config.ClusterURL != "" {
		d.engine(ctx)
		return
	}
	l, err := net.Listen("tcp", d.config.ClusterListen)
	if err != nil {
		d.port("engine", "cluster-listen", err)
		return
	}
	_ = l.Close()
	if loopbackHost(d.config.ClusterListen) {
		d.fine("engine", "%s can be opened, for media nodes on this machine", d.config.ClusterListen)
		return
	}
	d.fine("engine", "%s can be opened", d.config.ClusterListen)
}

// page looks at what browsers load.
func (d *doctor) page(now time.Time) {
	if err := web.Available(); err != nil {
		d.find("page", failure, "build with 'go tool task build'", "%v", err)
	}
	c := d.config
	if l, err := net.Listen("tcp", c.Listen); err != nil {
		d.port("page", "listen", err)
	} else {
		_ = l.Close()
		d.fine("page", "%s can be opened", c.Listen)
	}
	switch certificate, err := loadCertificate(c.TLSCert, c.TLSKey, now); {
	case err != nil:
		d.find("certificate", failure, "renew it, then systemctl reload sotto-signal", "%v", err)
	case certificate == nil && loopbackHost(c.Listen):
		d.fine("certificate", "none: a proxy on this machine speaks TLS")
	case certificate == nil:
		d.find("certificate", warning, "set tls-cert and tls-key, or let nobody but the proxy reach "+c.Listen, "none, and browsers give camera and encryption to https pages only")
	case certificate.Leaf.NotAfter.Sub(now) < 14*24*time.Hour:
		d.find("certificate", warning, "renew it, then systemctl reload sotto-signal", "ends on %s", certificate.Leaf.NotAfter.UTC().Format(time.DateTime))
	default:
		d.fine("certificate", "until %s", certificate.Leaf.NotAfter.UTC().Format(time.DateTime))
	}
	if loopbackHost(c.Listen) && len(c.TrustedProxies) == 0 {
		d.find("proxy", warning, "set trusted-proxies: 127.0.0.1", "all clients will be one to the limits per address")
	}
}

// files looks at the place for the participants' files.
func (d *doctor) files() {
	c := d.config
	if c.FilesLimit == 0 {
		return
	}
	dir := c.FilesDir
	if dir == "" {
		dir = os.TempDir()
	}
	f, err := os.CreateTemp(dir, "sotto-doctor-")
	if err != nil {
		d.find("files", failure, "set files-dir to a directory that the service may write to, or files-limit to 0", "%v", err)
		return
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	if free, ok := freeBytes(dir); ok && free>>20 < uint64(c.FilesLimit) {
		d.find("files", warning, "lower files-limit, or set files-dir", "%s has %d MiB, files-limit allows %d", dir, free>>20, c.FilesLimit)
		return
	}
	d.fine("files", "%s can be written to", dir)
}

// metrics looks at what others see of the numbers.
func (d *doctor) metrics() {
	c := d.config
	if c.MetricsListen == "" {
		d.fine("metrics", "none")
		return
	}
	l, err := net.Listen("tcp", c.MetricsListen)
	if err != nil {
		d.port("metrics", "metrics-listen", err)
		return
	}
	_ = l.Close()
	if !loopbackHost(c.MetricsListen) {
		d.find("metrics", warning, "let nobody but Prometheus reach it: it has no password", "%s is not loopback", c.MetricsListen)
		return
	}
	d.fine("metrics", "%s can be opened", c.MetricsListen)
}
