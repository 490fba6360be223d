package main

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
	"sotto/signal/client"
)

// TestProcesses_restartInACommitStorm: kill -9 of signaling while people join and leave in quick succession. Who is in the room
// comes back to one group: the same epoch, the same authenticator, everybody in it; newcomers get in.
func TestProcesses_restartInACommitStorm(t *testing.T) {
	s := startServices(t)
	keys, url := newRoom(t), s.websocket() // the same after the restart
	var mu sync.Mutex
	var people []*client.Participant
	var attempts sync.WaitGroup
	join := func() {
		attempts.Go(func() {
			for t.Context().Err() == nil { // who is thrown back while joining tries again, as a person would
				p, err := joinPlain(t.Context(), url, keys)
				if err != nil {
					continue
				}
				t.Cleanup(func() { _ = p.Close() })
				mu.Lock()
				people = append(people, p)
				mu.Unlock()
				return
			}
		})
	}
	for range 6 {
		join()
	}
	attempts.Wait()
	until(t, "six are in one group", func() bool { return oneGroup(people, 6) })
	before := people[0].Membership().Epoch

	// The storm: four come, two go, and in the middle of it the service dies.
	for range 4 {
		join()
	}
	gone := people[4:6:6]
	people = append([]*client.Participant(nil), people[:4]...)
	var leaving sync.WaitGroup
	for _, p := range gone {
		leaving.Go(func() {
			if err := p.Leave(t.Context()); err != nil {
				t.Errorf("leave: %v", err)
			}
		})
	}
	until(t, "the group moves", func() bool { return people[0].Membership().Epoch > before })
	leaving.Wait()
	s.signal.stop(syscall.SIGKILL)
	s.startSignal()
	s.ready()
	up := time.Now()
	attempts.Wait()
	defer func() {
		for i, p := range people {
			if m := p.Membership(); t.Failed() {
				t.Logf("participant %d: state %v, epoch %d, %d members, authenticator %x, %v", i, m.State, m.Epoch, len(m.Members), m.Authenticator[:min(4, len(m.Authenticator))], p.Err())
			}
		}
	}()
	until(t, "eight are in one group again", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return oneGroup(people, 8)
	})
	t.Logf("one group of 8, %v after the service was up again", time.Since(up).Round(10*time.Millisecond))
	for i, p := range people {
		if err := p.Err(); err != nil {
			t.Errorf("participant %d fell out of the room: %v", i, err)
		}
	}
}

func joinPlain(ctx context.Context, url string, keys *link.Keys) (*client.Participant, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return client.Join(ctx, client.Config{URL: url, Keys: keys, Audio: true, AudioSlots: 9, VideoSlots: 1})
}

// oneGroup reports whether n people are members of one group in one epoch. Others may be in it: who was thrown back while
// joining is gone for the service only after its time.
func oneGroup(people []*client.Participant, n int) bool {
	if len(people) != n {
		return false
	}
	first := people[0].Membership()
	for _, p := range people {
		m := p.Membership()
		if m.State != group.StateMember || len(m.Members) < n || m.Epoch != first.Epoch || !bytes.Equal(m.Authenticator, first.Authenticator) {
			return false
		}
		if errors.Is(p.Err(), client.ErrClosed) {
			return false
		}
	}
	return true
}
