package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The layers of Sotto. The test parses the files itself: the result of `go list` would come from the test cache after an
// import changed. Test files are free: they are where the endpoints and the server meet.

// rule says what the packages below dir may import, and why nothing else.
type rule struct {
	dir    string   // "sfu/room" itself, or "e2ee/..." with everything below
	allow  []string // import paths, "x/..." with everything below; the standard library is allowed unless pure
	pure   bool     // no clock, goroutine, lock, log, network, file
	reason string
}

var pureCore = []string{
	"sotto/sfu/unit", "sotto/sfu/packet", "sotto/sfu/seq", "sotto/sfu/ring", "sotto/sfu/layer", "sotto/sfu/loss",
	"sotto/sfu/report", "sotto/sfu/bwe", "sotto/sfu/pace", "sotto/sfu/speaker",
	"github.com/pion/rtp", "github.com/pion/rtcp",
}

var (
	pionServer    = []string{"github.com/pion/stun/...", "github.com/pion/dtls/...", "github.com/pion/srtp/...", "github.com/pion/sdp/...", "github.com/pion/transport/v5/deadline", "github.com/pion/logging"}
	zapLogger     = []string{"go.uber.org/zap/..."}
	promClient    = []string{"github.com/prometheus/client_golang/..."}
	pionEndpoints = []string{
		"github.com/pion/webrtc/...", "github.com/pion/interceptor/...", "github.com/pion/ice/...", "github.com/pion/logging",
		"github.com/pion/rtp/...", "github.com/pion/rtcp", "github.com/pion/transport/...", "github.com/pion/sdp/...", "github.com/pion/dtls/...",
	}
)

func rules() []rule {
	const core = "layer 0 is pure: time is a parameter, nothing blocks, so that it runs in virtual time and is tested in microseconds"
	list := []rule{
		{dir: "sfu/room", allow: pureCore, pure: true, reason: "a room is a plain value owned by one goroutine; sockets, clocks and logs belong to the shard"},
		{dir: "sfu/sim", allow: slices.Concat(pureCore, []string{"sotto/sfu/room"}), pure: true, reason: "the simulator runs a room in virtual time: what it measures must not depend on the machine"},
		{dir: "sfu/sim/impair", allow: slices.Concat(pureCore, []string{"sotto/sfu/sim"}), pure: true, reason: "links that carry real packets are tested in virtual time too: the command has the clock"},
		{dir: "cmd/impair", allow: []string{"sotto/sfu/unit", "sotto/sfu/sim", "sotto/sfu/sim/impair", "golang.org/x/sys/unix"}, reason: "the emulated network knows nothing of what is tested in it"},
		{dir: "sfu/transport", allow: slices.Concat(pureCore, pionServer, []string{"golang.org/x/sys/unix"}), reason: "the transport is the only place that knows pion's server-side packages, and it knows nothing of rooms"},
		{dir: "sfu/shard", allow: slices.Concat(pureCore, zapLogger, []string{"sotto/sfu/room", "sotto/sfu/transport"}), reason: "the shard joins room and transport and knows nothing of signaling"},
		{dir: "sfu", allow: slices.Concat(pureCore, zapLogger, []string{"sotto/sfu/room", "sotto/sfu/transport", "sotto/sfu/shard"}), reason: "the node is used by signaling, not the other way round"},
		{dir: "signal/protocol", reason: "the protocol is what clients and servers share: standard library only"},
		{dir: "signal/rate", pure: true, reason: "limits are tested without waiting: time is a parameter"},
		{dir: "signal/delivery", allow: []string{"sotto/signal/protocol", "sotto/signal/rate"}, pure: true, reason: "the order of a group's commits is decided by pure code that is tested with any interleaving; it sees clear headers and opens nothing"},
		{dir: "signal/blob", allow: []string{"sotto/signal/protocol"}, reason: "the file store knows names and bytes, and no clients or keys"},
		{dir: "signal/token", reason: "who may join is decided by pure code on the standard library, so that it can be reviewed alone"},
		{dir: "signal/web", reason: "the page's handler serves files and knows no rooms"},
		{dir: "signal/web/build", allow: []string{"github.com/evanw/esbuild/..."}, reason: "the bundle is built by the Go toolchain alone"},
		{dir: "signal/cluster", allow: slices.Concat(zapLogger, []string{"sotto/sfu", "github.com/nats-io/..."}), reason: "the control line between signaling and nodes knows neither clients nor media"},
		{dir: "signal", allow: slices.Concat(zapLogger, []string{"sotto/signal/protocol", "sotto/signal/token", "sotto/signal/rate", "sotto/signal/delivery", "sotto/signal/blob", "sotto/sfu", "github.com/coder/websocket/..."}), reason: "signaling relays sealed messages: it must not be able to import a package that opens them"},
		{dir: "signal/client/...", allow: slices.Concat(pionEndpoints, zapLogger, []string{"sotto/signal/protocol", "sotto/signal/client/...", "sotto/e2ee/...", "github.com/coder/websocket/..."}), reason: "a participant holds keys and shares nothing with the server but the protocol"},
		{dir: "e2ee/group", allow: []string{"sotto/e2ee/link", "sotto/e2ee/mls"}, pure: true, reason: "membership runs in virtual time and in a browser's worker: time and signatures are handed to it"},
		{dir: "e2ee/safety", pure: true, reason: "the same keys give the same code everywhere"},
		{dir: "e2ee/model", pure: true, reason: "the model is a walk through states: what it finds must not depend on the machine"},
		{dir: "e2ee/...", allow: []string{"sotto/e2ee/...", "sotto/signal/protocol"}, reason: "the encryption stands on the standard library alone, so that it can be reviewed alone"},
		{dir: "metrics", allow: slices.Concat(promClient, []string{"sotto/sfu", "sotto/signal", "sotto/signal/cluster"}), reason: "metrics read snapshots"},
		{dir: "cmd/sotto/internal/bench", allow: slices.Concat(pionEndpoints, zapLogger, []string{"sotto/...", "golang.org/x/sys/unix", "github.com/pion/srtp/v3"}), reason: "the load generator is both ends"},
		{dir: "cmd/sotto/internal/config", allow: []string{"go.yaml.in/yaml/v3"}, reason: "the configuration is data: it knows nobody who uses it"},
		{dir: "cmd/sotto", allow: slices.Concat(zapLogger, promClient, []string{"sotto/...", "github.com/nats-io/nats.go"}), reason: "the binary wires and holds no logic"},
	}
	for _, p := range pureCore {
		if dir, ours := strings.CutPrefix(p, "sotto/"); ours {
			list = append(list, rule{dir: dir, allow: pureCore, pure: true, reason: core})
		}
	}
	return list
}

// impureStd are the parts of the standard library that would give a pure package a clock, a thread or the outside world.
var impureStd = []string{"net", "net/...", "os", "os/...", "log", "log/...", "sync", "sync/...", "syscall", "io/fs", "runtime", "math/rand", "crypto/rand", "unsafe"}

// netip is a value type for addresses, not the network.
var pureExceptions = []string{"net/netip"}

func TestLayers(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if name == "node_modules" || name == "testdata" || (strings.HasPrefix(name, ".") && file != root) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(rel))
		seen[dir] = true
		r, ok := ruleFor(dir)
		if !ok {
			t.Errorf("%s: no layer is set for this folder; give it one in rules()", rel)
			return nil
		}
		checkFile(t, rel, file, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !seen["sfu/room"] || !seen["cmd/sotto"] {
		t.Fatal("the walk did not reach the packages: the test would pass without having read them")
	}
}

func ruleFor(dir string) (rule, bool) {
	for _, r := range rules() {
		if matches(dir, r.dir) {
			return r, true
		}
	}
	return rule{}, false
}

func matches(p, pattern string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	return p == base || below && strings.HasPrefix(p, base+"/")
}

func matchesAny(p string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(p, pattern) })
}

func checkFile(t *testing.T, rel, file string, r rule) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
		return
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, rel, src, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Error(err)
			continue
		}
		if std := !strings.Contains(strings.SplitN(p, "/", 2)[0], ".") && !strings.HasPrefix(p, "sotto"); std {
			if r.pure && matchesAny(p, impureStd) && !slices.Contains(pureExceptions, p) {
				t.Errorf("%s imports %q: %s", fset.Position(spec.Pos()), p, r.reason)
			}
			continue
		}
		if !matchesAny(p, r.allow) {
			t.Errorf("%s imports %q: %s", fset.Position(spec.Pos()), p, r.reason)
		}
	}
	if r.pure {
		checkPure(t, fset, f, r)
	}
}

// checkPure fails on time.Now and its kin, and on a go statement.
func checkPure(t *testing.T, fset *token.FileSet, f *ast.File, r rule) {
	t.Helper()
	clocks := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%s starts a goroutine: %s", fset.Position(n.Pos()), r.reason)
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
				t.Errorf("%s uses time.%s: %s", fset.Position(n.Pos()), n.Sel.Name, r.reason)
			}
		}
		return true
	})
}
