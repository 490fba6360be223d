package transport

import "time"

// pollInterval bounds how far ahead Poll looks.
const pollInterval = time.Second

// Poll takes over handshakes that completed, lets sessions expire and appends
// what happened since the last call to ev. next is when it has something to do
// even if nothing arrives; a completed handshake wakes the Bind.
func (e *Endpoint) Poll(now time.Time, ev []Event) (_ []Event, next time.Time) {
	e.collectHandshakes(now)
	if !e.deadline.IsZero() && !now.Before(e.deadline) {
		e.expire(now)
	}
	ev = append(ev, e.events...)
	e.events = e.events[:0]
	if e.deadline.IsZero() {
		return ev, now.Add(pollInterval)
	}
	return ev, e.deadline
}

// schedule makes sure that Poll looks at s in time.
func (e *Endpoint) schedule(s *session) {
	at := s.deadline()
	if !at.IsZero() && (e.deadline.IsZero() || at.Before(e.deadline)) {
		e.deadline = at
	}
}

// expire looks at every session and finds the next deadline. Sessions that
// hear from their peer only push theirs ahead, so this runs about once per
// consentTimeout and session in turn, not per packet.
func (e *Endpoint) expire(now time.Time) {
	e.deadline = time.Time{}
	for i := range e.sessions {
		s := &e.sessions[i]
		at := s.deadline()
		if at.IsZero() || now.Before(at) {
			e.schedule(s)
			continue
		}
		switch s.state {
		case stateChecking:
			reason := ReasonNoCheck
			if !s.checked.IsZero() {
				reason = ReasonHandshake
			}
			e.end(s, reason)
		case stateUp:
			s.state = stateSuspended
			e.stats.Suspensions++
			e.events = append(e.events, Event{Session: s.id, Kind: Suspended})
			if now.Before(s.deadline()) {
				e.schedule(s)
			} else {
				e.end(s, ReasonConsent)
			}
		case stateSuspended:
			e.end(s, ReasonConsent)
		}
	}
}
