package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"math/big"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"sotto/cmd/sotto/internal/config"
	"sotto/metrics"
	"sotto/sfu"
	rooms "sotto/signal"
	"sotto/signal/cluster"
	"sotto/signal/token"
)

// TestMain is the command itself when a test starts this binary as one.
func TestMain(m *testing.M) {
	if os.Getenv("SOTTO_TEST_AS_COMMAND") == "1" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(status)
	}
	os.Exit(m.Run())
}

const (
	roomID     = "6bbvwcsqoa3ytgy7o2cjlm4tmy"
	testSecret = "0123456789abcdefghijklmnopqrstuvwxyz"
)

// call runs a command line in this process.
func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	status = run(ctx, args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := file("secret", testSecret+"\n")
	weak := file("weak", "devkey")
	good := file("good.yaml", "cluster-secret-file: "+secret+"\nopen-rooms: true\nadvertise:\n  - 192.0.2.7\n")
	typo := file("typo.yaml", "open-rooms: true\ncluster-secret-fil: x\n")
	expired, key := certificate(t, dir, time.Now().Add(-time.Hour))
	for _, c := range []struct {
		args   string
		status int
		stdout string // patterns
		stderr string
	}{
		{"", 2, "", "sotto dev"},
		{"join", 2, "", "one link is needed"},
		{"join https://meet.example/r/" + roomID, 2, "", "not a room's link"},
		{"join https://meet.example/r/" + roomID + "#AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 2, "", "not a room's link"},
		{"join --name " + strings.Repeat("x", 65) + " https://meet.example/", 2, "", "cannot be shown"},
		{"join --loud x", 2, "", "-loud"},
		{"nonsense", 2, "", `no command "nonsense"`},
		{"help", 0, "sotto signal", ""},
		{"version", 0, ".", ""},
		{"dev -h", 0, "", "media-listen"},
		{"dev --no-such-flag", 2, "", "no-such-flag"},
		{"dev argument", 2, "", `takes no argument "argument"`},
		{"signal -h", 0, "", "cluster-secret-file"},
		{"signal", 2, "", "cluster-secret .from default.: is missing"},
		{"signal --open-rooms --cluster-secret-file " + weak, 2, "", "has 6 bytes, needs 32"},
		{"signal --cluster-secret " + testSecret, 2, "", "flag provided but not defined"},
		{"signal --config " + good + " --tls-cert /nonexistent/c --tls-key /nonexistent/k", 1, "", "TLS certificate: open /nonexistent/c"},
		{"signal --config " + good + " --tls-cert " + expired + " --tls-key " + key, 1, "", "TLS certificate .* expired on "},
		{"signal --config " + typo, 2, "", `typo.yaml:2: unknown key "cluster-secret-fil" .cluster-secret-file\?.`},
		{"sfu", 2, "", "cluster-secret"},
		{"sfu --cluster-secret-file " + secret + " --shards none", 2, "", "no whole number"},
		{"sfu --cluster-secret-file " + secret + " --media-listen 192.0.2.1:7000", 1, "", "media port"},
		{"config", 2, "", "sotto config check"},
		{"config check", 2, "", "sotto config check"},
		{"config check bench", 2, "", "sotto config check"},
		{"config check signal --config " + good, 0, "sotto signal: the configuration is good", ""},
		{"config check sfu --config " + good, 0, "good", ""},
		{"config check sfu --config " + typo, 2, "", "typo.yaml:2"},
		{"config check signal --config " + good + " --tls-cert " + expired + " --tls-key " + key, 2, "", "expired"},
		{"config print sfu --config " + good, 0, `advertise: \["192.0.2.7"\] # file .*good.yaml:3`, ""},
		{"config print sfu --config " + good, 0, `# cluster-secret: 36 bytes, not shown; file .*good.yaml:1`, ""},
		{"config print sfu --shards 3", 0, "shards: 3 # flag --shards", ""},
		{"config docs", 0, "SOTTO_CLUSTER_SECRET_FILE", ""},
		{"token", 2, "", "sotto token create"},
		{"token create -h", 0, "", "identity"},
		{"token create --room " + roomID + " --identity a", 2, "", "api-key and api-secret are missing"},
		{"token create --room x --identity a --api-key k --api-secret-file " + secret, 2, "", "no room id"},
		{"token create --room " + roomID + " --api-key k --api-secret-file " + secret, 2, "", "identity"},
		{"token create --room " + roomID + " --identity a --ttl 25h --api-key k --api-secret-file " + secret, 2, "", "lifetime"},
		{"token create --room " + roomID + " --identity a --publish smell --api-key k --api-secret-file " + secret, 2, "", "no source"},
		{"token create --room " + roomID + " --identity a --api-key k --api-secret-file " + weak, 1, "", "at least 32 bytes"},
		{"token create --room " + roomID + " --identity a --api-key k --api-secret-file " + secret, 0, `^ey[\w-]+\.[\w-]+\.[\w-]+\n$`, ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			status, stdout, stderr := call(t, strings.Fields(c.args)...)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, o := range []struct{ name, got, want string }{{"stdout", stdout, c.stdout}, {"stderr", stderr, c.stderr}} {
				if o.want == "" && o.got != "" || !regexp.MustCompile(o.want).MatchString(o.got) {
					t.Errorf("%s:\n%s\nwant %q", o.name, o.got, o.want)
				}
			}
			if strings.Contains(stdout+stderr, testSecret) || strings.Contains(stderr, "devkey") {
				t.Error("a secret is shown")
			}
		})
	}
}

// certificate writes a self-signed one that ends at the given time.
func certificate(t *testing.T, dir string, end time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-24 * time.Hour), NotAfter: end, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestTokenCreate_isTaken(t *testing.T) {
	t.Setenv("SOTTO_API_SECRET", testSecret)
	status, out, stderr := call(t, "token", "create", "--api-key", "key", "--room", roomID, "--identity", "somebody",
		"--ttl", "10m", "--publish", "microphone", "--subscribe=false", "--once", "--id", "1")
	if status != 0 {
		t.Fatal(stderr)
	}
	c, err := token.Verify(strings.TrimSpace(out), time.Now(), token.Policy{Keys: map[string][]byte{"key": []byte(testSecret)}, Room: roomID})
	if err != nil {
		t.Fatal(err)
	}
	if c.Identity != "somebody" || c.Subscribe || !c.Once || c.ID != "1" || len(c.Publish) != 1 || c.Publish[0] != token.SourceMicrophone ||
		c.Expires.Sub(c.NotBefore) != 10*time.Minute {
		t.Errorf("%+v", c)
	}
}

func TestClientAddress(t *testing.T) {
	if clientAddress(nil) != nil {
		t.Error("without proxies the header is believed")
	}
	address := clientAddress([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")})
	for _, c := range []struct{ remote, forwarded, want string }{
		{"10.0.0.1:5", "192.0.2.1", "192.0.2.1"},
		{"10.0.0.1:5", "198.51.100.1, 192.0.2.1", "192.0.2.1"}, // what stands before was sent by the client
		{"10.0.0.1:5", "192.0.2.1, 10.0.0.2", "192.0.2.1"},
		{"[fd00::1]:5", "2001:db8::1", "2001:db8::1"},
		{"203.0.113.9:5", "192.0.2.1", "203.0.113.9"}, // not a proxy: its word means nothing
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"10.0.0.1:5", "unknown", "10.0.0.1"},
		{"10.0.0.1:5", "192.0.2.1, junk, 10.0.0.2", "10.0.0.2"},
		{"pipe", "192.0.2.1", "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := address(r).String(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

var update = flag.Bool("update", false, "write the generated files anew")

// TestDeploy_configuration: the table of options is that of this build, and the examples work.
func TestDeploy_configuration(t *testing.T) {
	var docs bytes.Buffer
	if err := config.Docs(&docs); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "deploy", "CONFIGURATION.md")
	if *update {
		if err := os.WriteFile(path, docs.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if written, err := os.ReadFile(path); err != nil || !bytes.Equal(written, docs.Bytes()) {
		t.Errorf("%s is out of date (%v): go test ./cmd/sotto -run TestDeploy -update", path, err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(testSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOTTO_CLUSTER_SECRET_FILE", secret)
	t.Setenv("SOTTO_API_SECRET_FILE", secret)
	for _, command := range []string{"signal", "sfu"} {
		example := filepath.Join("..", "..", "deploy", command+".example.yaml")
		if status, _, stderr := call(t, "config", "check", command, "--config", example); status != 0 {
			t.Errorf("%s: %s", example, stderr)
		}
	}
}

// TestDeploy_flagsExist: what the units and the operator's page tell to type can be typed.
func TestDeploy_flagsExist(t *testing.T) {
	var docs bytes.Buffer
	if err := config.Docs(&docs); err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`([a-z-]+)`")
	known := map[string]bool{"config": true, "json": true, "room": true, "identity": true, "ttl": true}
	for _, m := range names.FindAllStringSubmatch(docs.String(), -1) {
		known[m[1]] = true
	}
	dir := filepath.Join("..", "..", "deploy")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`sotto (?:signal|sfu|dev|token create|config \w+|doctor \w+|nodes|rooms|drain)[^\n` + "`" + `]*`)
	for _, e := range entries {
		if e.IsDir() || e.Name() == "CONFIGURATION.md" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range flags.FindAllString(string(text), -1) {
			for _, m := range regexp.MustCompile(`--([a-z][a-z-]*)`).FindAllStringSubmatch(line, -1) {
				if !known[m[1]] {
					t.Errorf("%s: there is no flag --%s", e.Name(), m[1])
				}
			}
		}
		for _, m := range regexp.MustCompile(`SOTTO_[A-Z_]+`).FindAllString(string(text), -1) {
			if !strings.Contains(docs.String(), "`"+m+"`") {
				t.Errorf("%s: there is no variable %s", e.Name(), m)
			}
		}
	}
}

// TestDeploy_alerts: the rules are whole, and every metric that they name exists.
func TestDeploy_alerts(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	described := make(chan *prometheus.Desc)
	go func() {
		defer close(described)
		metrics.New(metrics.Sources{
			Node: func() sfu.Stats { return sfu.Stats{} }, Draining: func() bool { return false },
			Signal: func() rooms.Stats { return rooms.Stats{} }, Cluster: func() cluster.Stats { return cluster.Stats{} },
			CertificateEnd: time.Now,
		}).Describe(described)
	}()
	name := regexp.MustCompile(`sotto_\w+`)
	for d := range described {
		known[name.FindString(d.String())] = true
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Annotations["summary"] == "" || r.Labels["severity"] != "page" && r.Labels["severity"] != "ticket" {
				t.Errorf("%+v is not whole", r)
			}
			found := name.FindAllString(r.Expr, -1)
			if len(found) == 0 {
				t.Errorf("%s looks at nothing", r.Alert)
			}
			for _, m := range found {
				if !known[strings.TrimSuffix(m, "_bucket")] {
					t.Errorf("%s: there is no metric %s", r.Alert, m)
				}
			}
		}
	}
}

// TestDeploy_units: systemd understands the units.
func TestDeploy_units(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze")
	}
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	for _, name := range []string{"sotto-signal.service", "sotto-sfu.service"} {
		unit, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		// The binary is not installed on this machine.
		if err := os.WriteFile(path, bytes.ReplaceAll(unit, []byte("/usr/local/bin/sotto"), []byte(os.Args[0])), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
		limit, err := strconv.Atoi(string(regexp.MustCompile(`TimeoutStopSec=(\d+)`).FindSubmatch(unit)[1]))
		c, _, loadErr := config.Load(strings.TrimSuffix(strings.TrimPrefix(name, "sotto-"), ".service"), nil, func(string) (string, bool) { return "", false }, io.Discard)
		if err = errors.Join(err, loadErr); err != nil {
			t.Fatal(err)
		}
		if limit < c.DrainSeconds+2*int(closeTimeout.Seconds()) {
			t.Errorf("%s: killed after %d s, draining takes up to %d", name, limit, c.DrainSeconds)
		}
	}
	out, err := exec.Command(analyze, args...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
