package client

import (
	"testing"
	"time"
)

func TestTrackStats_bearsAClockThatWasReadEarlier(t *testing.T) {
	var s TrackStats
	at := time.Unix(1_700_000_000, 0)
	s.decoded(at, 0, false)
	s.decoded(at.Add(-time.Second), 0, false)
	s.decoded(at.Add(40*time.Millisecond), 0, false)
	if s.Decoded != 3 || s.MaxGap != 40*time.Millisecond || s.Freezes != 0 || !s.Last.Equal(at.Add(40*time.Millisecond)) {
		t.Errorf("%+v", s)
	}
}
