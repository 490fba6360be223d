//go:build !race

package protocol

const slowdown = 1
