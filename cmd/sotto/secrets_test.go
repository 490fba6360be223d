package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sotto/e2ee/link"
	"sotto/signal/client"
	"sotto/signal/client/clips"
	"sotto/signal/protocol"
)

// TestProcesses_knowNoSecret (attack 19): after a session with names, chat, sound and pictures neither the memory of the two
// services, nor their logs and metrics, nor what they sent to the clients holds any of it, nor a key.
func TestProcesses_knowNoSecret(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads the memory of processes by /proc")
	}
	s := startServices(t)
	secret := link.NewSecret()
	keys, err := link.Derive(secret)
	if err != nil {
		t.Fatal(err)
	}
	clip, err := clips.Load()
	if err != nil {
		t.Fatal(err)
	}
	traffic := &recorder{}
	_, identity, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	join := func(name string, key ed25519.PrivateKey) *client.Participant {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c := client.Config{
			URL: s.websocket(), Keys: keys, Person: name, Audio: true, Video: true, AudioSlots: 4, VideoSlots: 4, Clip: clip, Dial: traffic.dial,
		}
		if key != nil {
			c.Identity = key
		}
		p, err := client.Join(ctx, c)
		if err != nil {
			t.Fatalf("join: %v", err)
		}
		t.Cleanup(func() { _ = p.Close() })
		return p
	}
	const name, chat = "Canary Serinus", "canary: meet me at the old aviary"
	a := join(name, identity)
	b := join("Canary Fringilla", nil)
	<-a.Admitted()
	<-b.Admitted()
	if err := b.Want(t.Context(), []protocol.Wish{{ConnID: a.ConnID(), Source: protocol.SourceCamera, Height: 720}}); err != nil {
		t.Fatal(err)
	}
	if err := a.Say(4, []byte(`{"id":"1","text":"`+chat+`"}`)); err != nil {
		t.Fatal(err)
	}
	until(t, "sound and pictures arrive", func() bool {
		heard, seen := false, false
		for _, track := range b.Stats().Tracks {
			heard = heard || track.Source == protocol.SourceMic && track.Decoded > 50
			seen = seen || track.Source == protocol.SourceCamera && track.Decoded > 20
		}
		return heard && seen && len(b.Membership().Members) == 2
	})

	psk, err := keys.PSK()
	if err != nil {
		t.Fatal(err)
	}
	canaries := map[string][]byte{
		"name of a participant":       []byte(name),
		"chat":                        []byte(chat),
		"secret of the link":          secret[:],
		"secret of the link, as text": []byte(secret.Encode()),
		"pre-shared key":              psk,
		"epoch authenticator":         a.Membership().Authenticator,
		"identity key":                identity.Seed(),
		"picture":                     clip.Layers[0].Frames[0].Data[64:128],
		"sound":                       clip.Audio[3].Data[8:40],
	}
	for what, canary := range canaries {
		if len(canary) < 14 {
			t.Fatalf("%s is too short to look for", what)
		}
	}
	// What the services do know is found: so the search works.
	conn := a.ConnID()
	for which, p := range map[string]*process{"signal": s.signal, "sfu": s.sfu} {
		found := searchMemory(t, p.cmd.Process.Pid, map[string][]byte{"conn_id": []byte(conn.String())}, canaries)
		if !found["conn_id"] {
			t.Errorf("%s: the search does not even find a connection id", which)
		}
		for what := range canaries {
			if found[what] {
				t.Errorf("%s: the memory holds: %s", which, what)
			}
		}
	}
	r, err := http.Get(s.sfu.printed("metrics"))
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for where, data := range map[string][]byte{
		"log of signal": []byte(s.signal.text(&s.signal.log)), "log of sfu": []byte(s.sfu.text(&s.sfu.log)),
		"metrics": metrics, "traffic to the clients": traffic.bytes(),
	} {
		if len(data) == 0 {
			t.Errorf("%s: nothing to search", where)
		}
		for what, canary := range canaries {
			if bytes.Contains(data, canary) {
				t.Errorf("%s: %s", where, what)
			}
		}
	}
	s.signal.stop(syscall.SIGTERM)
	s.sfu.stop(syscall.SIGTERM)
}

// recorder keeps what the service sends. (What clients send is masked by WebSocket.)
type recorder struct {
	mu   sync.Mutex
	data []byte
}

func (r *recorder) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &recorded{Conn: conn, r: r}, nil
}

func (r *recorder) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.data)
}

type recorded struct {
	net.Conn
	r *recorder
}

func (c *recorded) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.r.mu.Lock()
	c.r.data = append(c.r.data, b[:n]...)
	c.r.mu.Unlock()
	return n, err
}

// searchMemory reports which of the patterns are somewhere in the memory that a process can read and write.
func searchMemory(t *testing.T, pid int, lists ...map[string][]byte) map[string]bool {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Skipf("the memory of another process cannot be read here: %v", err)
	}
	defer memory.Close()
	found := map[string]bool{}
	const step, overlap = 1 << 20, 256
	buf := make([]byte, step+overlap)
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to int64
		var rights string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights); err != nil || !strings.HasPrefix(rights, "rw") {
			continue
		}
		for at := from; at < to; at += step {
			n, err := memory.ReadAt(buf[:min(step+overlap, to-at)], at)
			if err != nil && n == 0 {
				continue // reserved, or gone meanwhile
			}
			for _, list := range lists {
				for what, pattern := range list {
					found[what] = found[what] || bytes.Contains(buf[:n], pattern)
				}
			}
		}
	}
	return found
}
