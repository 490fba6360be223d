package client_test

import (
	"context"
	"net"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"sotto/sfu"
	"sotto/signal"
	"sotto/signal/client"
)

// usage is what a process holds after everybody has left.
type usage struct {
	goroutines, files int
	heap              uint64
}

func measure(t *testing.T) usage {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("file descriptors are counted on Linux")
	}
	runtime.GC()
	runtime.GC() // what finalizers let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// TestChurn_leavesNothingBehind has participants join and leave over real sockets, service, node and participants in this
// process: goroutines and files end where they were, and the heap within 2 MB. SOTTO_CHURN_CYCLES sets how many come and go.
func TestChurn_leavesNothingBehind(t *testing.T) {
	cycles := 500
	if testing.Short() || raceEnabled {
		cycles = 100
	}
	if n, err := strconv.Atoi(os.Getenv("SOTTO_CHURN_CYCLES")); err == nil {
		cycles = n
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	node, err := sfu.New(sfu.Config{Shards: []sfu.ShardConfig{{Conn: udp}}})
	if err != nil {
		t.Fatal(err)
	}
	rooms, err := signal.New(signal.Config{Media: node, OpenRooms: true, LoopbackUnlimited: true})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(rooms)
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := rooms.Close(ctx); err != nil {
			t.Error(err)
		}
		web.Close()
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	}()
	keys := newKeys(t)

	churn := func(n int) {
		t.Helper()
		turns := make(chan struct{}, n)
		for range n {
			turns <- struct{}{}
		}
		close(turns)
		var people sync.WaitGroup
		for range 16 {
			people.Go(func() {
				for range turns {
					p, err := client.Join(t.Context(), client.Config{
						URL: strings.Replace(web.URL, "http", "ws", 1) + "/ws", Keys: keys, Audio: true, AudioSlots: 4,
						Engine: func(e *webrtc.SettingEngine) {
							e.SetIncludeLoopbackCandidate(true)
							e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
						},
					})
					if err != nil {
						t.Errorf("join: %v", err)
						return
					}
					if err := p.Leave(t.Context()); err != nil {
						t.Errorf("leave: %v", err)
					}
				}
			})
		}
		people.Wait()
	}
	// settled waits until the service has seen everybody go.
	settled := func() usage {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for node.Stats().Peers > 0 || rooms.Stats().Members > 0 {
			if time.Now().After(deadline) {
				t.Fatalf("still there: %d peers, %d members", node.Stats().Peers, rooms.Stats().Members)
			}
			time.Sleep(50 * time.Millisecond) // real sockets: there is no virtual time to advance
		}
		u := measure(t)
		for last := u; time.Now().Before(deadline); last = u {
			time.Sleep(250 * time.Millisecond) // closing sockets and their goroutines, in the kernel's time
			if u = measure(t); u.goroutines >= last.goroutines && u.files >= last.files {
				break
			}
		}
		return u
	}
	churn(100) // pools, tables and caches have their size after this
	before := settled()
	churn(cycles)
	after := settled()
	t.Logf("%d cycles: goroutines %d -> %d, files %d -> %d, heap %d -> %d kB", cycles,
		before.goroutines, after.goroutines, before.files, after.files, before.heap>>10, after.heap>>10)
	if after.goroutines > before.goroutines+2 { // idle keep-alives come and go
		buf := make([]byte, 1<<16)
		t.Errorf("goroutines %d -> %d\n%s", before.goroutines, after.goroutines, buf[:runtime.Stack(buf, true)])
	}
	if after.files > before.files+2 {
		t.Errorf("files %d -> %d", before.files, after.files)
	}
	if after.heap > before.heap+2<<20 {
		t.Errorf("heap %d -> %d bytes", before.heap, after.heap)
	}
}
