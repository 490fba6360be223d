//go:build race

package protocol

// slowdown is what the race detector costs, generously.
const slowdown = 20
