//go:build race

package sim

// underRace is set where the race detector makes everything ten times slower. Virtual time has one goroutine, so that it finds
// nothing here: a few runs do.
const underRace = true
