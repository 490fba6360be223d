//go:build !race

package group

const fewer = 1
