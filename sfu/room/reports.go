package room

import (
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/report"
)

// maxBlocks is how many reception reports fit one packet (RFC 3550 6.4.1).
const maxBlocks = 31

// onSenderReport takes a publisher's sender report: the clock of one of its streams.
func (r *Room) onSenderReport(now time.Time, p *peer, sr *rtcp.SenderReport) {
	in := p.latched(sr.SSRC)
	if in == nil || in.rtx {
		r.stats.FeedbackInvalid++
		return
	}
	s := in.s
	rate := s.clockRate()
	if rate == 0 {
		return
	}
	ntp := report.FromNTP(sr.NTPTime)
	s.recv.SenderReport(now, sr.NTPTime)
	s.clock = report.NewClock(ntp, sr.RTPTime, rate)
	// All streams of a peer share its wall clock, so one shift to ours keeps them in step. It moves only when the peer's
	// clock was set.
	if shift := now.Sub(ntp); !p.clockKnown || (shift-p.clockShift).Abs() > time.Second {
		p.clockShift, p.clockKnown = shift, true
	}
	for _, sub := range s.track.subs {
		s.clockTo(sub)
	}
}

// clockRate returns the clock rate of the stream's codecs in Hz: one for all of video, and of audio.
func (s *stream) clockRate() uint32 {
	for _, c := range s.track.def.Codecs {
		if c.ClockRate != 0 {
			return c.ClockRate
		}
	}
	return 0
}

// clockTo gives the stream's clock to a subscription, so that timestamps line up over a switch.
func (s *stream) clockTo(sub *slot) {
	ntp, rtp, rate := s.clock.Reference()
	sub.sw.SetClock(s.layer, ntp, rtp, rate)
}

// onReceptions takes a subscriber's reception reports: the round-trip time, loss and jitter.
func (r *Room) onReceptions(now time.Time, p *peer, blocks []rtcp.ReceptionReport) {
	for i := range blocks[:min(len(blocks), maxBlocks)] {
		s := p.slotOf(blocks[i].SSRC)
		if s == nil {
			continue // its RTX streams are reported too
		}
		if rtt, ok := s.sent.RTT(now, &blocks[i]); ok {
			// RTCP measures in steps of 15 us (RFC 3550 6.4.1), and the reports of several streams come in any order: what
			// follows from a round trip shall not hang on that.
			p.rtt = min(max(rtt.Round(time.Millisecond), time.Millisecond), 2*time.Second)
			r.stats.RTT.Note(p.rtt)
			r.noteReception(s, &blocks[i])
		}
	}
}

// noteReception counts what a subscriber reports of a stream. Only a report that answers one of ours comes here, so at most
// one of each of ours counts; what it claims is held against what was sent.
func (r *Room) noteReception(s *slot, b *rtcp.ReceptionReport) {
	if s.track == nil {
		return
	}
	before := s.heard
	s.heard = heard{highest: b.LastSequenceNumber, lost: b.TotalLost, sent: s.sent.Packets()}
	expected := uint64(s.heard.highest - before.highest)
	lost := uint64((s.heard.lost - before.lost) & 0xFF_FFFF)
	sent := uint64(s.heard.sent - before.sent)
	// The first report has nothing to compare with; a count that went back is a correction or a lie.
	if before == (heard{}) || expected > 2*sent+100 || lost > expected {
		return
	}
	r.stats.ExpectedOut += expected
	r.stats.LostOut += lost
	for _, c := range s.track.def.Codecs {
		if c.ClockRate != 0 {
			r.stats.JitterOut.Note(min(duration(b.Jitter, c.ClockRate), 10*time.Second))
			break
		}
	}
}

// sendReports sends the reports of an interval: sender reports for what the peer gets, receiver reports for what it sends.
func (r *Room) sendReports(now time.Time, p *peer, out *Batch) {
	for _, s := range p.slots {
		if s.track == nil || s.sent.Packets() == s.told {
			continue
		}
		rung := s.sw.Current()
		if rung < 0 || s.track.streams[rung] == nil {
			continue
		}
		// Without a sender report of the publisher nothing is known about its clock, and a guess would put sound and
		// picture out of step.
		clock, pub := &s.track.streams[rung].clock, s.track.peer
		if !clock.Known() {
			continue
		}
		rtp, ok := s.sw.Timestamp(clock.At(now.Add(-pub.clockShift)))
		if !ok {
			continue
		}
		s.told = s.sent.Packets()
		out.RTCP = append(out.RTCP, Feedback{p.id, s.sent.Report(now, now, s.SSRC, rtp)})
	}
	var blocks []rtcp.ReceptionReport
	for i := range p.incoming {
		in := &p.incoming[i]
		if in.rtx || !in.s.recv.Started() || len(blocks) == maxBlocks {
			continue
		}
		lost, expected := in.s.recv.Lost(), in.s.recv.Expected()
		r.stats.PacketsExpected += expected - in.s.expected
		if lost > in.s.lost {
			r.stats.PacketsLost += uint64(lost - in.s.lost)
		}
		in.s.expected, in.s.lost = expected, max(lost, in.s.lost)
		block := in.s.recv.Report(now, in.ssrc)
		r.stats.JitterIn.Note(duration(block.Jitter, in.s.clockRate()))
		blocks = append(blocks, block)
	}
	if len(blocks) > 0 {
		out.RTCP = append(out.RTCP, Feedback{p.id, &rtcp.ReceiverReport{SSRC: p.ssrc, Reports: blocks}})
	}
}

// sendFeedback sends the transport-wide feedback that is due to a publisher.
func (r *Room) sendFeedback(now time.Time, p *peer, out *Batch) {
	due := p.recorder.Next()
	if due.IsZero() {
		return
	}
	if now.Before(due) {
		r.wake(due)
		return
	}
	r.feedback = p.recorder.Feedback(now, p.ssrc, p.lastSSRC, r.feedback[:0])
	for _, fb := range r.feedback {
		out.RTCP = append(out.RTCP, Feedback{p.id, fb})
	}
	clear(r.feedback)
}
