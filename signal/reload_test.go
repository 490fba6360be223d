package signal

import (
	"net/http"
	"net/netip"
	"testing"

	"sotto/signal/protocol"
	"sotto/signal/token"
)

// TestReload: new rules are for who comes from then on; a bad one changes nothing.
func TestReload(t *testing.T) {
	inBubbleWith(t, byToken(), func(w *world) {
		good := w.mint(func(*token.Claims) {})
		there := w.present(good)
		expect[*protocol.Welcome](there)

		server := w.serves.Load()
		next := byToken()
		next.Keys = map[string][]byte{"APIkey": make([]byte, token.MinSecret)}
		next.AllowedOrigins = []string{"no origin"}
		if server.Reload(next) == nil {
			t.Fatal("a bad origin is taken")
		}
		still := w.present(w.mint(func(*token.Claims) {}))
		expect[*protocol.Welcome](still)

		next.AllowedOrigins = nil
		if err := server.Reload(next); err != nil {
			t.Fatal(err)
		}
		if e := expect[*protocol.Error](w.present(good)); e.Code != protocol.CodeTokenInvalid {
			t.Errorf("a token of the former key: %+v", e)
		}
		if err := server.Reload(Config{OpenRooms: true}); err != nil {
			t.Fatal(err)
		}
		expect[*protocol.Welcome](w.present(""))
		expect[*protocol.PeerJoined](still)
		if server.Reload(Config{}) == nil {
			t.Error("rules that let nobody in are taken")
		}
		there.send(&protocol.Leave{}) // who was there is there
		expect[*protocol.PeerLeft](still)
	})
}

func TestReload_addressLimits(t *testing.T) {
	config := Config{OpenRooms: true, ClientAddr: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.7") }}
	inBubbleWith(t, config, func(w *world) {
		config.Limits.AddressOpen = 2
		if err := w.serves.Load().Reload(config); err != nil {
			t.Fatal(err)
		}
		w.open()
		w.open()
		if refused := w.serves.Load().Stats().Refused[refusedAddressOpen]; refused != 0 {
			t.Errorf("%d refused within the limit", refused)
		}
		header := http.Header{"Sec-Websocket-Protocol": {protocol.Subprotocol}}
		r := &http.Request{Host: testHost, Header: header}
		if _, refused := w.serves.Load().open(r); refused != refusedAddressOpen {
			t.Errorf("a third connection: %q", refused)
		}
	})
}
