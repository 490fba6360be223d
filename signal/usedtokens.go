package signal

import (
	"sync"
	"time"
)

// usedTokens remembers the tokens of one use that were used, until they
// expire. Safe for concurrent use.
type usedTokens struct {
	limit int

	mu    sync.Mutex
	until map[string]time.Time
}

// use is the result of usedTokens.add.
type use uint8

const (
	usedNow use = iota
	usedBefore
	usedFull // no room to remember it, so it cannot be taken
)

func (u *usedTokens) add(id string, until, now time.Time) use {
	u.mu.Lock()
	defer u.mu.Unlock()
	if end, there := u.until[id]; there && now.Before(end) {
		return usedBefore
	}
	if len(u.until) >= u.limit {
		for id, end := range u.until {
			if !now.Before(end) {
				delete(u.until, id)
			}
		}
	}
	if len(u.until) >= u.limit {
		return usedFull
	}
	if u.until == nil {
		u.until = make(map[string]time.Time)
	}
	u.until[id] = until
	return usedNow
}

func (u *usedTokens) remove(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.until, id)
}
