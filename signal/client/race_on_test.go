//go:build race

package client_test

// raceEnabled: the race detector multiplies the cost of a handshake.
const raceEnabled = true
