package blob

import "maps"

// Stats is a snapshot of a store. Maps have the same keys in every one.
type Stats struct {
	Files    int               // places, with or without their file
	Bytes    int64             // of these places
	Reserved map[string]uint64 // places asked for by result: "ok", "size", "full", "client"
	Requests map[string]uint64 // HTTP requests by result: "stored", "read", or why they were refused
	// DiskErrors is how often a file could not be removed.
	DiskErrors uint64
}

// Results of Stats.Reserved.
const (
	resultOK    = "ok"
	refusedSize = "size" // nothing, or larger than a file may be
	refusedFull = "full" // the room or the store has no space
	// refusedClient: one client has its share, of the store or of what runs at a
	// time.
	refusedClient = "client"
)

// Results of Stats.Requests.
const (
	resultStored   = "stored"
	resultRead     = "read"
	brokenOff      = "broken_off" // a read that ended early: too slow, or given up
	refusedUnknown = "unknown"    // no such file, or none any more
	refusedToken   = "token"      // an upload with the wrong one
	refusedTwice   = "twice"      // an upload to a place that is taken
	refusedLength  = "length"     // an upload of another length, or broken off
	refusedDisk    = "disk"       // an upload that the disk did not take
	refusedMethod  = "method"
	refusedBusy    = "busy" // too many at a time
)

// counts are guarded by Store.mu.
type counts struct {
	reserved, requests map[string]uint64
	diskErrors         uint64
}

func newCounts() counts {
	c := counts{reserved: map[string]uint64{}, requests: map[string]uint64{}}
	for _, r := range []string{resultOK, refusedSize, refusedFull, refusedClient} {
		c.reserved[r] = 0
	}
	for _, r := range []string{
		resultStored, resultRead, brokenOff, refusedUnknown, refusedToken, refusedTwice, refusedLength, refusedDisk, refusedMethod, refusedBusy, refusedClient,
	} {
		c.requests[r] = 0
	}
	return c
}

func (s *Store) count(result string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.requests[result]++
}

// Stats returns the figures of now.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Files: len(s.files), Bytes: s.bytes,
		Reserved: maps.Clone(s.counts.reserved), Requests: maps.Clone(s.counts.requests),
		DiskErrors: s.counts.diskErrors,
	}
}
