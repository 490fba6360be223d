// Package layer decides which layers of which streams a subscriber gets, and selects and renumbers their packets.
package layer

import "sotto/sfu/unit"

// Rung is one simulcast layer that a source sends now.
type Rung struct {
	Rate   unit.Bitrate
	Height uint16
}

// MaxRungs is the number of simulcast layers of a source.
const MaxRungs = 3

// Source is one track as one subscriber wants it.
type Source struct {
	Priority uint8
	Want     uint16
	Current  int8
	Rungs    [MaxRungs]Rung
}

// Budget is what may be spent.
type Budget struct{ Keep, Change unit.Bitrate }

// Allocate chooses a rung per source.
func Allocate(b Budget, src []Source, dst []int8) (spent unit.Bitrate) { return 0 }
