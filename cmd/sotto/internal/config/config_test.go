package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const goodSecret = "0123456789abcdefghijklmnopqrstuv"

// load reads a configuration from flags, environment ("NAME=value") and a file's text.
func load(t *testing.T, command string, args, environment []string, file string) (*Config, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "sotto.yaml")
		write(t, path, file)
		args = append([]string{"--config", path}, args...)
	}
	c, rest, err := Load(command, args, func(name string) (string, bool) {
		for _, e := range environment {
			if n, v, _ := strings.Cut(e, "="); n == name {
				return v, true
			}
		}
		return "", false
	}, io.Discard)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("arguments %q", rest)
	}
	return c, err
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoad_precedence(t *testing.T) {
	const file = "media-listen: :1\nlog-level: error\nadvertise: [192.0.2.1, 192.0.2.2]\nlisten: :9 # of another command\n"
	environment := []string{"SOTTO_MEDIA_LISTEN=:2", "SOTTO_NODE_ID=env"}
	c, err := load(t, SFU, []string{"--media-listen", ":3"}, environment, file)
	if err != nil {
		t.Fatal(err)
	}
	if c.MediaListen != ":3" || c.NodeID != "env" || c.LogLevel != "error" || c.Shards != 1 || c.MetricsListen != "127.0.0.1:9465" {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(c.Advertise, []string{"192.0.2.1", "192.0.2.2"}) {
		t.Errorf("advertise %q", c.Advertise)
	}
	if c.Listen != "" {
		t.Errorf("option of another command is %q", c.Listen)
	}
	if c, err = load(t, SFU, nil, environment, file); err != nil || c.MediaListen != ":2" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err = load(t, Dev, nil, nil, ""); err != nil || c.MediaListen != ":0" || c.LogLevel != "warn" {
		t.Errorf("dev: %+v, %v", c, err)
	}
}

func TestLoad_refuses(t *testing.T) {
	for name, c := range map[string]struct {
		args, env []string
		file      string
		want      string // in the error
	}{
		"unknown key":         {file: "shards: 1\nmedia_listen: :1\n", want: `sotto.yaml:2: unknown key "media_listen" (media-listen?)`},
		"nothing near":        {file: "whatever: 1\n", want: `unknown key "whatever"`},
		"twice":               {file: "shards: 1\nshards: 2\n", want: "sotto.yaml:2: shards is there twice"},
		"mapping":             {file: "shards:\n  a: 1\n", want: "sotto.yaml:2: shards: neither"},
		"list of lists":       {file: "advertise: [[a]]\n", want: "neither a value nor a list"},
		"alias":               {file: "node-id: &a x\nadvertise: *a\n", want: "neither a value nor a list"},
		"no mapping":          {file: "- shards\n", want: "sotto.yaml:1: not a list"},
		"two documents":       {file: "shards: 1\n---\nshards: 2\n", want: "more than one document"},
		"no YAML":             {file: "shards: [\n", want: "line"},
		"not a number":        {file: "\nshards: many\n", want: `sotto.yaml:2): "many" is no whole number`},
		"not a bool in env":   {env: []string{"SOTTO_SHARDS=1.5"}, want: "environment SOTTO_SHARDS"},
		"file is away":        {args: []string{"--config", "/nonexistent/x.yaml"}, want: "/nonexistent/x.yaml"},
		"secret is away":      {env: []string{"SOTTO_CLUSTER_SECRET_FILE=/nonexistent/s"}, want: "cluster-secret-file (from environment"},
		"secret and its file": {env: []string{"SOTTO_CLUSTER_SECRET=x", "SOTTO_CLUSTER_SECRET_FILE=/dev/null"}, want: "both the secret and its file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, SFU, c.args, c.env, c.file)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	for _, args := range [][]string{{"--no-such-flag"}, {"--shards", "x"}, {"--cluster-secret", goodSecret}, {"--listen", ":1"}} {
		if _, err := load(t, SFU, args, nil, ""); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := load(t, SFU, []string{"-h"}, nil, ""); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}

func TestLoad_secrets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	write(t, path, goodSecret+"\n")
	for name, args := range map[string][2][]string{
		"flag":        {{"--cluster-secret-file", path}, nil},
		"environment": {nil, {"SOTTO_CLUSTER_SECRET=" + goodSecret}},
		"env file":    {nil, {"SOTTO_CLUSTER_SECRET_FILE=" + path}},
		"flag first":  {{"--cluster-secret-file", path}, {"SOTTO_CLUSTER_SECRET=other"}},
	} {
		c, err := load(t, SFU, args[0], args[1], "cluster-secret: from-the-file\n")
		if err != nil || string(c.ClusterSecret) != goodSecret {
			t.Errorf("%s: %q, %v", name, []byte(c.ClusterSecret), err)
		}
	}
	c, err := load(t, SFU, nil, nil, "cluster-secret-file: "+path+"\n")
	if err != nil || string(c.ClusterSecret) != goodSecret {
		t.Errorf("file: %v", err)
	}
	var out bytes.Buffer
	if err := c.Print(&out); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%v %+v %#v %s %q", c, c, c, c.ClusterSecret, c.ClusterSecret)
	if strings.Contains(out.String(), goodSecret) || strings.Contains(out.String(), fmt.Sprint([]byte(goodSecret))) {
		t.Errorf("printed:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "# cluster-secret: 32 bytes, not shown; file ") {
		t.Errorf("print:\n%s", out.String())
	}
}

func TestCheck(t *testing.T) {
	secret := "SOTTO_CLUSTER_SECRET=" + goodSecret
	for name, c := range map[string]struct {
		command string
		args    []string
		env     []string
		want    string // "" = fine
	}{
		"dev":              {command: Dev},
		"sfu":              {command: SFU, env: []string{secret}},
		"sfu at NATS":      {command: SFU, args: []string{"--cluster-url", "tls://nats.example:4222"}},
		"signal":           {command: Signal, args: []string{"--open-rooms"}, env: []string{secret}},
		"signal, tokens":   {command: Signal, args: []string{"--api-key", "k"}, env: []string{secret, "SOTTO_API_SECRET=" + goodSecret}},
		"no secret":        {command: SFU, want: "cluster-secret (from default): is missing"},
		"short":            {command: SFU, env: []string{"SOTTO_CLUSTER_SECRET=short"}, want: "has 5 bytes, needs 32"},
		"repeats":          {command: SFU, env: []string{"SOTTO_CLUSTER_SECRET=" + strings.Repeat("ab", 32)}, want: "repeats itself"},
		"nobody can join":  {command: Signal, env: []string{secret}, want: "api-key (from default): is missing"},
		"half a key":       {command: Signal, args: []string{"--api-key", "k"}, env: []string{secret}, want: "go together"},
		"half of TLS":      {command: Signal, args: []string{"--open-rooms", "--tls-cert", "x"}, env: []string{secret}, want: "tls-key"},
		"address":          {command: Signal, args: []string{"--open-rooms", "--listen", "8080"}, env: []string{secret}, want: "listen (from flag --listen): needs HOST:PORT"},
		"origin":           {command: Signal, args: []string{"--open-rooms", "--allowed-origins", "example.org"}, env: []string{secret}, want: "no origin"},
		"proxy":            {command: Signal, args: []string{"--open-rooms", "--trusted-proxies", "10.0.0.0/8,x"}, env: []string{secret}, want: `"x" is no address`},
		"advertise":        {command: SFU, args: []string{"--advertise", "0.0.0.0"}, env: []string{secret}, want: "no address of a machine"},
		"codecs":           {command: SFU, args: []string{"--video-codecs", "av1,h264"}, env: []string{secret}, want: "none of vp8, vp9, av1"},
		"offload":          {command: Dev, args: []string{"--socket-offload", "gso"}, want: "is none of auto, sendmmsg, off"},
		"shards":           {command: SFU, args: []string{"--shards", "0"}, env: []string{secret}, want: "between 1 and 256"},
		"node id":          {command: SFU, args: []string{"--node-id", "A.B"}, env: []string{secret}, want: "node-id"},
		"level":            {command: SFU, args: []string{"--log-level", "loud"}, env: []string{secret}, want: "log-level"},
		"password in URL":  {command: SFU, args: []string{"--cluster-url", "nats://u:pw@h:1"}, want: "takes no password"},
		"scheme":           {command: SFU, args: []string{"--cluster-url", "http://h:1"}, want: "cluster-url"},
		"credentials here": {command: SFU, args: []string{"--cluster-credentials", "x"}, env: []string{secret}, want: "are for nats://"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := load(t, c.command, c.args, c.env, "")
			if err != nil {
				t.Fatal(err)
			}
			err = cfg.Check()
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "pw@"):
				t.Errorf("password in %v", err)
			}
		})
	}
}

func TestLoad_operatorFindsTheEngine(t *testing.T) {
	secret := "SOTTO_CLUSTER_SECRET=" + goodSecret
	for file, want := range map[string]string{
		"shards: 2\n":                         "127.0.0.1:4222",
		"cluster-listen: 10.0.0.1:5000\n":     "10.0.0.1:5000",
		"cluster-listen: \":5000\"\n":         "127.0.0.1:5000",
		"cluster-listen: \"[::]:5000\"\n":     "127.0.0.1:5000",
		"cluster-url: tls://nats.example:1\n": "tls://nats.example:1",
	} {
		c, err := load(t, Operator, nil, []string{secret}, file)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); err != nil || c.ClusterURL != want {
			t.Errorf("%q: %q, %v", file, c.ClusterURL, err)
		}
	}
}

// TestPrint_isAFile: what Print writes can be read again, and gives the same.
func TestPrint_isAFile(t *testing.T) {
	c, err := load(t, Signal, []string{"--open-rooms", "--allowed-origins", "https://a.example,https://b.example"}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	if err := c.Print(&first); err != nil {
		t.Fatal(err)
	}
	again, err := load(t, Signal, nil, nil, first.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Print(&second); err != nil {
		t.Fatal(err)
	}
	values := func(s string) string {
		lines := strings.Split(s, "\n")
		for i, l := range lines {
			lines[i], _, _ = strings.Cut(l, " # ")
		}
		return strings.Join(lines, "\n")
	}
	if values(first.String()) != values(second.String()) {
		t.Errorf("\n%s\nbecame\n%s", first.String(), second.String())
	}
}

// TestOptions_areWhole: every field has what the documentation needs.
func TestOptions_areWhole(t *testing.T) {
	var docs bytes.Buffer
	if err := Docs(&docs); err != nil {
		t.Fatal(err)
	}
	for _, o := range options() {
		if o.doc == "" || len(o.commands) == 0 {
			t.Errorf("%s: no doc or no command", o.key)
		}
		for _, c := range o.commands {
			if !slices.Contains(append(Commands(), Operator, "token"), c) {
				t.Errorf("%s: unknown command %s", o.key, c)
			}
		}
		if !strings.Contains(docs.String(), "| `"+o.key+"`") || !strings.Contains(docs.String(), "`"+o.env()+"`") {
			t.Errorf("%s is not documented", o.key)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{"shards: 1\n", "advertise: [a, b]\n", "a: &x [*x]\n", "---\n---\n", "\x00", "? [a]\n: b\n", "<<: {a: b}\n", "!!binary x: y", "'': ''"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		content, err := parseFile("f", []byte(text))
		if err == nil {
			for key := range content {
				if !knownKey(key) {
					t.Errorf("unknown key %q went through", key)
				}
			}
		}
	})
}
