package client_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"

	"sotto/e2ee/link"
	"sotto/signal/client"
	"sotto/signal/protocol"
)

// TestJoin_withoutTheSecretIsRefused says connect for a room whose secret it does not have.
func TestJoin_withoutTheSecretIsRefused(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(c *protocol.Connect, own, foreign *link.Keys, nonce []byte, conn link.ConnID)
		want  protocol.Code
	}{
		{"own key for a foreign room", func(c *protocol.Connect, own, _ *link.Keys, nonce []byte, conn link.ConnID) {
			c.LinkPub, c.LinkSig = protocol.Bytes(own.Public()), own.ConnectSignature("sotto.test", nonce, conn)
		}, protocol.CodeNotAdmitted},
		{"signature of another key", func(c *protocol.Connect, own, foreign *link.Keys, nonce []byte, conn link.ConnID) {
			c.LinkSig = own.ConnectSignature("sotto.test", nonce, conn)
		}, protocol.CodeBadSignature},
		{"signature for another host", func(c *protocol.Connect, _, foreign *link.Keys, nonce []byte, conn link.ConnID) {
			c.LinkSig = foreign.ConnectSignature("elsewhere.test", nonce, conn)
		}, protocol.CodeBadSignature},
		{"signature for another connection", func(c *protocol.Connect, _, foreign *link.Keys, nonce []byte, _ link.ConnID) {
			c.LinkSig = foreign.ConnectSignature("sotto.test", nonce, link.NewConnID())
		}, protocol.CodeBadSignature},
		{"signature of another nonce", func(c *protocol.Connect, _, foreign *link.Keys, nonce []byte, conn link.ConnID) {
			c.LinkSig = foreign.ConnectSignature("sotto.test", make([]byte, len(nonce)), conn)
		}, protocol.CodeBadSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, 0)
				defer c.close()
				transport := &http.Transport{DialContext: c.pipes.dial, DisableKeepAlives: true}
				defer transport.CloseIdleConnections()
				ws, _, err := websocket.Dial(t.Context(), "ws://sotto.test/ws", &websocket.DialOptions{
					HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"sotto.v1"},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer ws.CloseNow()
				hello, ok := read(t, ws).(*protocol.Hello)
				if !ok {
					t.Fatal("no hello")
				}
				foreign, conn := c.keys, link.NewConnID()
				room, err := protocol.ParseRoomID(foreign.RoomID())
				if err != nil {
					t.Fatal(err)
				}
				connect := &protocol.Connect{
					ID: 1, Room: room, ConnID: protocol.ConnID(conn),
					LinkPub: protocol.Bytes(foreign.Public()), LinkSig: foreign.ConnectSignature("sotto.test", hello.Nonce, conn),
				}
				tt.spoil(connect, newKeys(t), foreign, hello.Nonce, conn)
				data, err := protocol.Encode(connect)
				if err != nil {
					t.Fatal(err)
				}
				if err := ws.Write(t.Context(), websocket.MessageText, data); err != nil {
					t.Fatal(err)
				}
				refused, ok := read(t, ws).(*protocol.Error)
				if !ok || refused.Code != tt.want || !refused.Fatal {
					t.Fatalf("answer %+v, want %s", refused, tt.want)
				}
				if _, _, err := ws.Read(t.Context()); err == nil {
					t.Fatal("the connection stays open")
				}
			})
		})
	}
}

func read(t *testing.T, ws *websocket.Conn) protocol.ServerMessage {
	t.Helper()
	_, data, err := ws.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := protocol.DecodeServer(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestJoin_tellsWhyItFailed: errors of Join are typed.
func TestJoin_tellsWhyItFailed(t *testing.T) {
	if _, err := client.Join(t.Context(), client.Config{}); !errors.Is(err, client.ErrConfig) {
		t.Errorf("without keys: %v", err)
	}
	if _, err := client.Join(t.Context(), client.Config{Keys: newKeys(t), URL: "nonsense"}); !errors.Is(err, client.ErrConfig) {
		t.Errorf("without a host: %v", err)
	}
	if _, err := client.Join(t.Context(), client.Config{Keys: newKeys(t), URL: "ws://a.test/", VideoSlots: 500}); !errors.Is(err, client.ErrConfig) {
		t.Errorf("too many slots: %v", err)
	}
}
