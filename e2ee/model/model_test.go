package model

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
)

var (
	states = flag.Int("states", 100_000, "how many states to visit with all rules")
	walks  = flag.Int("walks", 3000, "how many random walks to take")
	epochs = flag.Int("epochs", 6, "how many commits to make")
)

func TestProtocol_keepsItsPromises(t *testing.T) {
	for _, members := range []int{1, 3} {
		r := Protocol().Search(*states, members, *epochs, "")
		t.Logf("%d members at the start: %d states, to a depth of %d steps, complete: %v", members, r.States, r.Depth, r.Complete)
		if r.Violated != "" {
			t.Errorf("%s:\n%s", r.Violated, strings.Join(r.Trace, "\n"))
		}
	}
}

func TestProtocol_keepsThemOnLongWalks(t *testing.T) {
	for i := range *walks {
		r := Protocol().Walk(rand.New(rand.NewPCG(uint64(i), 0)), 60, 1+i%clients, 9)
		if r.Violated != "" {
			t.Fatalf("walk %d: %s:\n%s", i, r.Violated, strings.Join(r.Trace, "\n"))
		}
	}
}

func TestRules_areAllNeeded(t *testing.T) {
	for name, test := range map[string]struct {
		drop func(r *Rules)
		want string
	}{
		"slots":   {func(r *Rules) { r.Slots = false }, Forked},
		"echo":    {func(r *Rules) { r.Echo = false }, Forked},
		"path":    {func(r *Rules) { r.Path = false }, Removed},
		"psk":     {func(r *Rules) { r.PSK = false }, Outsider},
		"welcome": {func(r *Rules) { r.Welcome = false }, Earlier},
		"once":    {func(r *Rules) { r.Once = false }, Reused},
		"fresh":   {func(r *Rules) { r.Fresh = false }, Reused},
		"resume":  {func(r *Rules) { r.Resume = false }, Unsettled},
		"claims":  {func(r *Rules) { r.Claims = false }, Forked},
		"newer":   {func(r *Rules) { r.Newer = false }, Displaced},
	} {
		t.Run(name, func(t *testing.T) {
			rules := Protocol()
			test.drop(&rules)
			r := rules.Search(250_000, 2, 6, test.want)
			if r.Violated != test.want {
				t.Errorf("%d states: %q, want %q\n%s", r.States, r.Violated, test.want, strings.Join(r.Trace, "\n"))
				return
			}
			t.Logf("%d states: %s\n%s", r.States, r.Violated, strings.Join(r.Trace, "\n"))
		})
	}
}
