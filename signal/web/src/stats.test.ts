import assert from "node:assert/strict";
import { test } from "node:test";
import { barOf, SpeechNotice } from "./level_meter.ts";
import { bitrate, StatsReader } from "./stats.ts";

const report = (at: number, bytes: number, packets: number, lost: number): Parameters<StatsReader["read"]>[0] => [
  { id: "C", type: "codec", timestamp: at, mimeType: "video/VP8" },
  { id: "I", type: "inbound-rtp", timestamp: at, kind: "video", mid: "4", codecId: "C", bytesReceived: bytes, packetsReceived: packets, packetsLost: lost, frameWidth: 480, frameHeight: 270, framesPerSecond: 15, freezeCount: 1 },
  { id: "O", type: "outbound-rtp", timestamp: at, kind: "video", rid: "h", bytesSent: 2 * bytes, packetsSent: packets },
  { id: "R", type: "remote-inbound-rtp", timestamp: at, localId: "O", packetsLost: 2 * lost, roundTripTime: 0.5 },
  { id: "T", type: "transport", timestamp: at, selectedCandidatePairId: "P", srtpCipher: "AEAD_AES_128_GCM" },
  { id: "P", type: "candidate-pair", timestamp: at, localCandidateId: "L", currentRoundTripTime: 0.023, availableOutgoingBitrate: 2_400_000 },
  { id: "L", type: "local-candidate", timestamp: at, protocol: "udp" },
];

test("figures are of the time since the last look", () => {
  const reader = new StatsReader();
  const first = reader.read(report(1000, 5000, 100, 0));
  assert.deepEqual(first.received.map((s) => [s.bitsPerSecond, s.loss]), [[0, null]]);
  const { sent, received, rttMs, transport, available, cipher } = reader.read(report(3000, 105_000, 190, 10));
  assert.deepEqual(received, [{ key: "I", mid: "4", rid: "", kind: "video", codec: "VP8", width: 480, height: 270, fps: 15, bitsPerSecond: 400_000, loss: 0.1, freezes: 1 }]);
  assert.deepEqual(sent.map((s) => [s.rid, s.bitsPerSecond, s.loss]), [["h", 800_000, 20 / 110]]);
  assert.deepEqual([rttMs, transport, available, cipher], [23, "udp", 2_400_000, "AEAD_AES_128_GCM"]);
});

test("what a browser does not tell is unknown, not zero", () => {
  const { rttMs, transport, available } = new StatsReader().read([{ id: "I", type: "inbound-rtp", timestamp: 1, kind: "audio" }]);
  assert.deepEqual([rttMs, transport, available], [null, "", null]);
});

test("rates read well", () => {
  assert.equal(bitrate(0), "0 kbit/s");
  assert.equal(bitrate(849_700), "850 kbit/s");
  assert.equal(bitrate(999_800), "1.0 Mbit/s");
});

test("the bar is empty in silence and full at a shout", () => {
  assert.equal(barOf(0), 0);
  assert.equal(barOf(0.0001), 0);
  assert.ok(barOf(0.03) > 0.4 && barOf(0.03) < 0.7);
  assert.equal(barOf(1), 1);
});

test("speech is told from a knock, and told once", () => {
  const notice = new SpeechNotice();
  const hear = (...levels: number[]): boolean[] => levels.map((l) => notice.hear(l));
  assert.ok(!hear(0.5, 0.5, 0, 0.5, 0.5, 0).includes(true));
  assert.deepEqual(hear(0.1, 0.1, 0.1, 0.1, 0.1, 0, 0.1, 0.1, 0.1, 0.1), [false, false, false, true, false, false, false, false, false, false]);
  notice.reset();
  assert.ok(hear(0.1, 0.1, 0.1, 0.1).includes(true));
});
