package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"sotto/signal"
)

// signalFamilies is the catalogue of what the signaling service shows.
func signalFamilies() []family[signal.Stats] {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []family[signal.Stats]{
		{desc("rooms", "Rooms with at least one participant."), gauge, func(s signal.Stats) []sample { return one(float64(s.Rooms)) }},
		{desc("participants", "Participants admitted to a room."), gauge, func(s signal.Stats) []sample { return one(float64(s.Members)) }},
		{desc("signal_sessions", "Open WebSocket connections, admitted or not."), gauge, func(s signal.Stats) []sample { return one(float64(s.Sessions)) }},
		{desc("joins_total", "Requests to enter a room by result: ok, or the error code that the client got.", "result"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Joins) }},
		{desc("participants_away", "Participants whose connection broke a moment ago and who may still resume."), gauge,
			func(s signal.Stats) []sample { return one(float64(s.Away)) }},
		{desc("reconnects_total", "Requests to resume a broken connection by result: ok, lost (the service had restarted), or the error code that the client got.", "result"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Resumes) }},
		{desc("leaves_total", "Participants that left, by reason.", "reason"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Left) }},
		{desc("offers_total", "Negotiations by result: ok, or the error code that the client got.", "result"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Offers) }},
		{desc("connections_refused_total", "WebSocket requests refused before the upgrade, by reason.", "reason"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Refused) }},
		{desc("signal_errors_total", "Errors sent to clients by code.", "code"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Errors) }},
		{desc("signal_messages_total", "Text messages received."), counter,
			func(s signal.Stats) []sample { return one(float64(s.Messages)) }},
		{desc("slow_readers_total", "Connections closed because they read too slowly."), counter,
			func(s signal.Stats) []sample { return one(float64(s.SlowReaders)) }},
		{desc("envelopes_total", "Sealed messages by direction (in: from a participant; out: copies to participants).", "direction"), counter, func(s signal.Stats) []sample {
			return []sample{{float64(s.Envelopes), []string{"in"}}, {float64(s.EnvelopesSent), []string{"out"}}}
		}},
		{desc("envelope_bytes_total", "Bytes of sealed messages sent to participants."), counter,
			func(s signal.Stats) []sample { return one(float64(s.EnvelopeBytes)) }},
		{desc("envelopes_dropped_total", "Sealed messages that were not relayed, by reason.", "reason"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Dropped) }},
		{desc("groups", "Rooms with an encryption group."), gauge, func(s signal.Stats) []sample { return one(float64(s.Groups)) }},
		{desc("group_messages_total", "Messages that make or change a room's encryption group by result: ok, or why they were refused.", "result"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Group) }},
		{desc("group_tickets_total", "Tickets of encryption groups shown after a restart by result: ok or forged.", "result"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Tickets) }},
		{desc("files", "Places for files, with or without their file."), gauge, func(s signal.Stats) []sample { return one(float64(s.Files.Files)) }},
		{desc("file_bytes", "Bytes of these places."), gauge, func(s signal.Stats) []sample { return one(float64(s.Files.Bytes)) }},
		{desc("file_places_total", "Places asked for by result: ok, size or full.", "result"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Files.Reserved) }},
		{desc("file_requests_total", "HTTP requests for files by result: stored, read, or why they were refused.", "result"), counter,
			func(s signal.Stats) []sample { return byLabel(s.Files.Requests) }},
		{desc("file_disk_errors_total", "Files that could not be removed from the disk."), counter,
			func(s signal.Stats) []sample { return one(float64(s.Files.DiskErrors)) }},
	}
}
