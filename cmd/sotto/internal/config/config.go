// Package config reads what Sotto is told: flags before environment before file before defaults.
//
// [Config] is the only list of options. Flags, variables, keys of the file, `sotto config print` and the table of
// `sotto config docs` come from its fields and their tags:
//
//	key      the name, as flag (--media-listen) and in the file (media-listen: …); SOTTO_MEDIA_LISTEN in the environment
//	for      the commands that know it
//	default  its value when nobody says anything; default-dev and so on for one command
//	reload   "yes": read again on SIGHUP
//	doc      what it is
//
// A [Secret] has no flag, which everybody on the machine could read: it comes from a file (--KEY-file, SOTTO_KEY_FILE, KEY-file)
// or from the environment or the configuration file itself.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Commands that are configured.
const (
	Dev    = "dev"
	Signal = "signal"
	SFU    = "sfu"
	// Operator is 'sotto nodes', 'rooms' and 'drain': they look at a cluster and run nothing.
	Operator = "operator"
)

// Commands lists those that run.
func Commands() []string { return []string{Dev, Signal, SFU} }

// Config is everything that can be configured.
type Config struct {
	Listen             string   `key:"listen" for:"dev,signal" default:"127.0.0.1:8080" doc:"address of page and signaling. Browsers give camera and encryption to https pages, and to 127.0.0.1 without TLS"`
	TLSCert            string   `key:"tls-cert" for:"signal" reload:"yes" doc:"file with the TLS certificate and its chain, PEM. Without it, a proxy in front must speak TLS"`
	TLSKey             string   `key:"tls-key" for:"signal" reload:"yes" doc:"file with the key of tls-cert, PEM"`
	AllowedOrigins     []string `key:"allowed-origins" for:"signal" reload:"yes" doc:"origins of pages that may connect besides the service's own, like https://example.org"`
	TrustedProxies     []string `key:"trusted-proxies" for:"signal" reload:"yes" doc:"addresses or prefixes of proxies whose X-Forwarded-For tells the client's address, for the limits per address"`
	AddressConnections int      `key:"address-connections" for:"signal" default:"32" reload:"yes" doc:"connections that one client address may have open: an IPv4 address or an IPv6 /64"`
	AddressRate        int      `key:"address-rate" for:"signal" default:"10" reload:"yes" doc:"new connections of one client address per second"`
	OpenRooms          bool     `key:"open-rooms" for:"signal" default:"false" reload:"yes" doc:"let everybody who has a room's link join, without a token"`
	APIKey             string   `key:"api-key" for:"signal,token" reload:"yes" doc:"name of the key that signs join tokens (their iss)"`
	APISecret          Secret   `key:"api-secret" for:"signal,token" reload:"yes" doc:"key that signs join tokens, 32 bytes or more"`
	MediaListen        string   `key:"media-listen" for:"dev,sfu" default:":7000" default-dev:":0" doc:"address of the first media port, UDP and TCP; port 0 takes a free one"`
	Shards             int      `key:"shards" for:"sfu" default:"1" doc:"media ports and goroutines that forward, on consecutive port numbers; a room is on one of them"`
	Advertise          []string `key:"advertise" for:"dev,sfu" doc:"IP addresses at which browsers reach the media ports. Default: the one of media-listen, else every address of this machine that is not loopback"`
	VideoCodecs        []string `key:"video-codecs" for:"dev,sfu" default:"vp8" doc:"video codecs that may be sent, best first: vp8, vp9, av1. A room uses the first that everybody in it can decode; vp8 is always the last resort"`
	SocketOffload      string   `key:"socket-offload" for:"dev,sfu" default:"auto" doc:"what the media sockets ask of the kernel: auto (segmentation offload, as far as it works), sendmmsg (batches of single packets) or off. For kernels and drivers that claim more than they do"`
	NodeID             string   `key:"node-id" for:"sfu" doc:"name of this node in the cluster, of a-z, 0-9 and '-', different on every node. Default: drawn at each start"`
	ClusterListen      string   `key:"cluster-listen" for:"signal,operator" default-signal:"127.0.0.1:4222" doc:"address at which media nodes reach the engine in this process"`
	ClusterURL         string   `key:"cluster-url" for:"signal,sfu,operator" default-sfu:"127.0.0.1:4222" doc:"engine: HOST:PORT of a 'sotto signal', or nats://… or tls://… of a NATS service. Set on signal, there is no engine in the process"`
	ClusterSecret      Secret   `key:"cluster-secret" for:"signal,sfu,operator" doc:"secret that signaling and nodes share, 32 bytes or more; also keeps calls resumable over a restart of signaling"`
	ClusterCreds       string   `key:"cluster-credentials" for:"signal,sfu,operator" doc:"NATS credentials file for cluster-url"`
	FilesDir           string   `key:"files-dir" for:"dev,signal" doc:"where files that participants send each other lie until they are fetched, encrypted, in a directory that goes with the process. Default: the system's directory for temporary files"`
	FilesLimit         int      `key:"files-limit" for:"dev,signal" default:"4096" doc:"MiB of such files, 256 of one room; 0 = none are stored"`
	FilesMinutes       int      `key:"files-minutes" for:"dev,signal" default:"60" doc:"how long such a file lives"`
	MetricsListen      string   `key:"metrics-listen" for:"dev,signal,sfu" default:"127.0.0.1:9464" default-sfu:"127.0.0.1:9465" doc:"address of /metrics, /livez and /readyz, and of /debug/pprof/ if it is a loopback address; empty = none"`
	DrainSeconds       int      `key:"drain-seconds" for:"signal,sfu" default:"2" default-sfu:"60" reload:"yes" doc:"after SIGTERM. sfu: how long calls may take to move to other nodes; 0 = they end at once. signal: how long /readyz says 503 before connections are closed, for a load balancer to see it"`
	LogLevel           string   `key:"log-level" for:"dev,signal,sfu" default:"info" default-dev:"warn" reload:"yes" doc:"debug, info, warn or error"`
	Verbose            bool     `key:"verbose" for:"dev" default:"false" doc:"the same as log-level debug"`

	command string
	origins map[string]string // by key: where the value comes from
}

// MinSecret is the least length of a secret in bytes.
const MinSecret = 32

// Secret is a value that no method prints.
type Secret []byte

// String says only whether it is set.
func (s Secret) String() string {
	if len(s) == 0 {
		return ""
	}
	return "(not shown)"
}

// GoString is String: %#v must not show it either.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// weak says why a secret will not do.
func (s Secret) weak() string {
	distinct := map[byte]bool{}
	for _, b := range s {
		distinct[b] = true
	}
	switch {
	case len(s) < MinSecret:
		return fmt.Sprintf("has %d bytes, needs %d (openssl rand -base64 33)", len(s), MinSecret)
	case len(distinct) < 8:
		return "repeats itself (openssl rand -base64 33)"
	}
	return ""
}

// option is a field of Config.
type option struct {
	key, doc string
	commands []string
	tag      reflect.StructTag
	index    int
}

func options() []option {
	var list []option
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		if key := f.Tag.Get("key"); key != "" {
			list = append(list, option{key, f.Tag.Get("doc"), strings.Split(f.Tag.Get("for"), ","), f.Tag, i})
		}
	}
	return list
}

func find(key string) (option, bool) {
	for _, o := range options() {
		if o.key == key {
			return o, true
		}
	}
	return option{}, false
}

func (o option) known(command string) bool {
	for _, c := range o.commands {
		if c == command {
			return true
		}
	}
	return false
}

func (o option) standard(command string) string {
	if v, ok := o.tag.Lookup("default-" + command); ok {
		return v
	}
	return o.tag.Get("default")
}

func (o option) env() string {
	return "SOTTO_" + strings.ToUpper(strings.ReplaceAll(o.key, "-", "_"))
}

func (o option) reloads() bool { return o.tag.Get("reload") == "yes" }

func (o option) secret() bool {
	return reflect.TypeFor[Config]().Field(o.index).Type == reflect.TypeFor[Secret]()
}

// Check reports what cannot work, all of it.
func (c *Config) Check() error {
	var bad []error
	wrong := func(key, format string, args ...any) {
		bad = append(bad, fmt.Errorf("%s (from %s): %s", key, c.origin(key), fmt.Sprintf(format, args...)))
	}
	for _, o := range options() {
		if !o.known(c.command) || !o.secret() {
			continue
		}
		if s := reflect.ValueOf(c).Elem().Field(o.index).Bytes(); len(s) > 0 {
			if why := Secret(s).weak(); why != "" {
				wrong(o.key, "%s", why)
			}
		}
	}
	for _, a := range []struct {
		key, value string
		optional   bool
	}{
		{"listen", c.Listen, false}, {"media-listen", c.MediaListen, false},
		{"cluster-listen", c.ClusterListen, c.command == Operator}, {"metrics-listen", c.MetricsListen, true},
	} {
		if o, _ := find(a.key); !o.known(c.command) || a.optional && a.value == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.value); err != nil {
			wrong(a.key, "needs HOST:PORT")
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil && c.command != Operator {
		wrong("log-level", "is none of debug, info, warn, error")
	}
	for _, a := range c.Advertise {
		if ip, err := netip.ParseAddr(a); err != nil || ip.IsUnspecified() || ip.IsMulticast() {
			wrong("advertise", "%q is no address of a machine", a)
		}
	}
	for _, name := range c.VideoCodecs {
		if !slices.Contains(videoCodecs(), name) {
			wrong("video-codecs", "%q is none of %s", name, strings.Join(videoCodecs(), ", "))
		}
	}
	if (c.command == Dev || c.command == SFU) && !slices.Contains(offloads(), c.SocketOffload) {
		wrong("socket-offload", "is none of %s", strings.Join(offloads(), ", "))
	}
	if o, _ := find("files-limit"); o.known(c.command) {
		if c.FilesLimit < 0 || c.FilesLimit > 1<<20 {
			wrong("files-limit", "is not between 0 and %d", 1<<20)
		}
		if c.FilesMinutes < 1 || c.FilesMinutes > 7*24*60 {
			wrong("files-minutes", "is not between 1 and %d", 7*24*60)
		}
	}
	if o, _ := find("drain-seconds"); o.known(c.command) && (c.DrainSeconds < 0 || c.DrainSeconds > 24*60*60) {
		wrong("drain-seconds", "is not between 0 and %d", 24*60*60)
	}
	switch c.command {
	case Signal:
		c.checkSignal(wrong)
	case SFU:
		if c.Shards < 1 || c.Shards > 256 {
			wrong("shards", "is not between 1 and 256")
		}
		if c.NodeID != "" && !nodeID.MatchString(c.NodeID) {
			wrong("node-id", "is not 1 to 32 of a-z, 0-9 and '-'")
		}
		c.checkMember(wrong)
	case Operator:
		c.checkMember(wrong)
	}
	return errors.Join(bad...)
}

// videoCodecs lists what video-codecs may name.
func videoCodecs() []string { return []string{"vp8", "vp9", "av1"} }

// offloads lists what socket-offload may be.
func offloads() []string { return []string{"auto", "sendmmsg", "off"} }

var nodeID = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

func (c *Config) checkSignal(wrong func(key, format string, args ...any)) {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		wrong("tls-cert", "and tls-key go together")
	}
	if len(c.ClusterSecret) == 0 {
		wrong("cluster-secret", "is missing")
	}
	if c.ClusterURL != "" {
		c.checkURL(wrong)
	}
	if c.AddressConnections < 1 {
		wrong("address-connections", "is less than 1")
	}
	if c.AddressRate < 1 {
		wrong("address-rate", "is less than 1")
	}
	for _, o := range c.AllowedOrigins {
		if u, err := url.Parse(o); err != nil || u.Host == "" || u.Path != "" || u.User != nil {
			wrong("allowed-origins", "%q is no origin like https://example.org", o)
		}
	}
	if _, err := c.Proxies(); err != nil {
		wrong("trusted-proxies", "%v", err)
	}
	switch {
	case (c.APIKey == "") != (len(c.APISecret) == 0):
		wrong("api-key", "and api-secret go together")
	case c.APIKey == "" && !c.OpenRooms:
		wrong("api-key", "is missing: join tokens need a key and its secret; open-rooms lets everybody in who has a link")
	}
}

// checkMember looks at what a member of a cluster needs whose engine is in another process.
func (c *Config) checkMember(wrong func(key, format string, args ...any)) {
	if c.SottoEngine() && len(c.ClusterSecret) == 0 {
		wrong("cluster-secret", "is missing")
	}
	c.checkURL(wrong)
}

func (c *Config) checkURL(wrong func(key, format string, args ...any)) {
	if c.SottoEngine() {
		if _, _, err := net.SplitHostPort(c.ClusterURL); err != nil {
			wrong("cluster-url", "needs HOST:PORT, nats://HOST:PORT or tls://HOST:PORT")
		}
		if c.ClusterCreds != "" {
			wrong("cluster-credentials", "are for nats:// and tls://")
		}
		return
	}
	for part := range strings.SplitSeq(c.ClusterURL, ",") {
		u, err := url.Parse(part)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls":
			wrong("cluster-url", "needs HOST:PORT, nats://HOST:PORT or tls://HOST:PORT")
		case u.User != nil:
			wrong("cluster-url", "takes no password: it would be printed; use cluster-credentials")
		}
	}
}

// SottoEngine reports whether cluster-url is the engine of a 'sotto signal', reached by the cluster's secret.
func (c *Config) SottoEngine() bool { return !strings.Contains(c.ClusterURL, "://") }

// Proxies returns the prefixes of trusted-proxies.
func (c *Config) Proxies() ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, p := range c.TrustedProxies {
		if a, err := netip.ParseAddr(p); err == nil {
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, fmt.Errorf("%q is no address or prefix", p)
		}
		list = append(list, prefix)
	}
	return list, nil
}

// Adopt takes the values of n that may change while a service runs, and lists the keys of others that n has different: they take
// a restart. The two are of one command.
func (c *Config) Adopt(n *Config) (fixed []string) {
	old, fresh := reflect.ValueOf(c).Elem(), reflect.ValueOf(n).Elem()
	for _, o := range options() {
		switch {
		case !o.known(c.command):
		case o.reloads():
			old.Field(o.index).Set(fresh.Field(o.index))
			c.origins[o.key] = n.origins[o.key]
		case !reflect.DeepEqual(old.Field(o.index).Interface(), fresh.Field(o.index).Interface()):
			fixed = append(fixed, o.key)
		}
	}
	return fixed
}

func (c *Config) origin(key string) string {
	if o := c.origins[key]; o != "" {
		return o
	}
	return "default"
}
