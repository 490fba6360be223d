//go:build race

package group

// fewer is by how much the long tests do less under the race detector, which
// makes signatures several times slower and has nothing to find here: the package
// starts no goroutine.
const fewer = 6
