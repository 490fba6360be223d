package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"sotto/e2ee/group"
)

// What others say reaches a terminal as text, or not at all.
func TestJoin_printsTextOnly(t *testing.T) {
	for text, printed := range map[string]bool{
		"Hello\n\tworld": true, "": false, "\u009b31mred": false, "\x1b[31mred": false, "bell\a": false, "\x7f": false,
	} {
		body, err := json.Marshal(map[string]string{"id": "1", "text": text})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		j := &joiner{out: json.NewEncoder(&out)}
		j.Message(group.Message{Kind: 4, Body: body})
		if (out.Len() > 0) != printed {
			t.Errorf("%q: printed %q", text, out.String())
		}
	}
}

// Without TLS only this machine is the way.
func TestJoin_loopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost:8443": true, "localhost": true, "127.0.0.1:80": true, "[::1]:80": true, "[::1]": true, "room.localhost:1": true,
		"meet.example": false, "localhost.example:80": false, "192.168.1.2:80": false, "[2001:db8::1]:80": false, "127.0.0.1.example": false,
	} {
		if isLoopback(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}
