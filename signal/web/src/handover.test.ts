// When a new media session takes over from a former one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { arrivals, isCaughtUp } from "./handover.ts";
import type { Slot } from "./protocol.ts";
import { SlotMap } from "./slots.ts";

const slot = (mid: string, connId: string, source: Slot["source"], paused: Slot["paused"] = ""): Slot => ({ mid, connId, source, paused });

const former = [slot("2", "ada", "mic"), slot("6", "ada", "camera"), slot("7", "niels", "camera", "publisher")];

function caughtUp(slots: Slot[], arrived: [string, number][], live: (connId: string, source: Slot["source"]) => boolean = () => true): boolean {
  const now = new SlotMap();
  now.replace(slots);
  return isCaughtUp(former, now, new Map(arrived), live);
}

test("the former session goes on until sound and pictures of the new one are there", () => {
  const slots = [slot("4", "ada", "camera"), slot("3", "ada", "mic")];
  assert.equal(caughtUp([], []), false);
  assert.equal(caughtUp(slots, []), false);
  assert.equal(caughtUp(slots, [["3", 5], ["4", 0]]), false, "no picture was decoded yet");
  assert.equal(caughtUp(slots, [["3", 0], ["4", 1]]), false, "no sound came yet");
  assert.equal(caughtUp(slots, [["3", 5], ["6", 9]]), false, "an m-line of the former session");
  assert.equal(caughtUp(slots, [["3", 5], ["4", 1]]), true);
});

test("what does not come, or did not come before, is not waited for", () => {
  assert.equal(caughtUp([slot("4", "ada", "camera", "bandwidth"), slot("3", "ada", "mic")], [["3", 5]]), true, "paused by the service");
  assert.equal(caughtUp([], [], () => false), true, "everybody went");
  assert.equal(caughtUp([slot("4", "ada", "camera")], [["4", 1]], (_connId, source) => source !== "mic"), true, "muted meanwhile");
});

test("pictures count when they are decoded, sound when it comes", () => {
  const report = new Map<string, object>([
    ["a", { type: "inbound-rtp", kind: "audio", mid: "2", packetsReceived: 7 }],
    ["b", { type: "inbound-rtp", kind: "video", mid: "6", packetsReceived: 9, framesDecoded: 0 }],
    ["c", { type: "inbound-rtp", kind: "video", mid: "7", packetsReceived: 9 }],
    ["d", { type: "outbound-rtp", kind: "video", mid: "1", packetsSent: 9 }],
  ]);
  assert.deepEqual([...arrivals(report as unknown as RTCStatsReport)], [["2", 7], ["6", 0], ["7", 0]]);
});
