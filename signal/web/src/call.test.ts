// The small pure parts of a call: back-off, layers, link, roster, problems.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { backoffMs } from "./backoff.ts";
import { roomLink, roomOfPath, secretOfFragment, tokenOfFragment } from "./link.ts";
import { deviceProblem, failureOf } from "./problems.ts";
import type { Peer } from "./protocol.ts";
import { Resumption } from "./resumption.ts";
import { Roster, hasLive } from "./roster.ts";
import { layersFor } from "./simulcast.ts";

test("waits double, are spread over half, and stay below the cap", () => {
  assert.equal(backoffMs(1, 0), 200);
  assert.equal(backoffMs(1, 0.999), 400);
  assert.equal(backoffMs(2, 0), 400);
  for (let attempt = 1; attempt < 100; attempt++) {
    assert.ok(backoffMs(attempt, 0.999) <= 8000);
    assert.ok(backoffMs(attempt + 1, 0.5) >= backoffMs(attempt, 0.5));
  }
});

test("a large camera sends three layers, a small one keeps its best", () => {
  const active = (w: number, h: number): [string, number][] => layersFor(w, h).filter((l) => l.active).map((l) => [l.rid, l.scaleResolutionDownBy]);
  assert.deepEqual(active(1280, 720), [["q", 4], ["h", 2], ["f", 1]]);
  assert.deepEqual(active(960, 540), [["q", 4], ["h", 2], ["f", 1]]);
  assert.deepEqual(active(720, 1280), [["q", 4], ["h", 2], ["f", 1]]);
  assert.deepEqual(active(640, 480), [["q", 2], ["h", 1]]);
  assert.deepEqual(active(320, 240), [["q", 1]]);
  assert.deepEqual(active(0, 0), [["q", 4], ["h", 2], ["f", 1]]);
  assert.deepEqual(layersFor(1280, 720).map((l) => l.maxBitrate), [150_000, 500_000, 1_700_000]);
});

test("a link has its room in the path and its secret in the fragment", () => {
  const room = "abcdefghijklmnopqrstuvwx27";
  const secret = "A".repeat(42) + "_";
  const link = new URL(roomLink("https://example.org", room, secret));
  assert.equal(roomOfPath(link.pathname), room);
  assert.equal(secretOfFragment(link.hash), secret);
  assert.equal(roomOfPath("/"), null);
  assert.equal(roomOfPath(`/r/${room}/x`), null);
  assert.equal(roomOfPath(`/r/${room.toUpperCase()}`), null);
  assert.equal(secretOfFragment(`#${secret}A`), null);
  assert.equal(secretOfFragment("#"), null);
  assert.equal(secretOfFragment(`#${secret}&token=a.b-c_d`), secret);
  assert.equal(tokenOfFragment(`#${secret}&token=a.b-c_d`), "a.b-c_d");
  assert.equal(tokenOfFragment(`#${secret}`), "");
  assert.equal(tokenOfFragment(`#${secret}&token=<b>`), "");
  assert.equal(tokenOfFragment(`#${secret}&token=${"a".repeat(4097)}`), "");
});

test("the roster follows who comes and goes", () => {
  const roster = new Roster();
  roster.apply({ type: "welcome", id: 1, leaf: 3, resume: "", resumed: false, lost: false, group: null, peers: [{ connId: "b", leaf: 2, tracks: [] }, { connId: "a", leaf: 1, tracks: [] }] });
  assert.deepEqual(roster.all().map((m) => [m.connId, m.state]), [["a", "waiting"], ["b", "waiting"]]);
  assert.equal(roster.apply({ type: "peer_joined", connId: "c", leaf: 4 }).joined?.connId, "c");
  assert.equal(roster.apply({ type: "peer_joined", connId: "c", leaf: 4 }).changed, false);
  roster.apply({ type: "peer_tracks", connId: "c", tracks: [{ source: "camera", muted: false }] });
  const c = roster.all()[2];
  assert.ok(c && hasLive(c, "camera") && !hasLive(c, "mic"));
  assert.equal(roster.setState("c", "encrypted"), true);
  assert.equal(roster.setState("c", "encrypted"), false);
  assert.equal(roster.setState("nobody", "encrypted"), false);
  assert.equal(roster.apply({ type: "peer_left", connId: "c", reason: "leave" }).left?.leaf, 4);
  assert.equal(roster.apply({ type: "peer_left", connId: "c", reason: "leave" }).changed, false);
  assert.equal(roster.apply({ type: "peer_tracks", connId: "c", tracks: [] }).changed, false);
  assert.equal(roster.size, 2);
});

test("after a resumption the roster keeps what it knows of those who stayed", () => {
  const peer = (connId: string, leaf: number): Peer => ({ connId, leaf, tracks: [] });
  const roster = new Roster();
  roster.meet([peer("a", 1), peer("b", 2)], true);
  roster.setState("a", "encrypted");
  roster.setName("a", "Ada");
  // The service forgot everything: only "a" is back so far.
  const lost = roster.meet([{ ...peer("a", 1), tracks: [{ source: "mic", muted: false }] }], false);
  assert.deepEqual([lost.joined, lost.left], [[], []]);
  assert.deepEqual(roster.all().map((m) => [m.connId, m.state, m.name, m.tracks.length]), [["a", "encrypted", "Ada", 1], ["b", "waiting", "", 0]]);
  const settled = roster.meet([peer("a", 1), peer("c", 3)], true);
  assert.deepEqual(settled.joined.map((m) => m.connId), ["c"]);
  assert.deepEqual(settled.left.map((m) => m.connId), ["b"]);
  // Another leaf is another stay.
  const moved = roster.meet([peer("a", 5), peer("c", 3)], true);
  assert.deepEqual([moved.left.map((m) => m.leaf), moved.joined.map((m) => m.leaf)], [[1], [5]]);
  assert.deepEqual(roster.all().map((m) => [m.connId, m.state]), [["c", "waiting"], ["a", "waiting"]]);
});

test("attempts to resume begin at once, slow down, and end after 20 s", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    let now = 0;
    const at: number[] = [];
    let expired = 0;
    const r = new Resumption({ attempt: () => at.push(now), expired: () => expired++ }, () => 0.5, () => now);
    const tick = (ms: number): void => {
      for (let i = 0; i < ms; i += 25) {
        now += 25;
        mock.timers.tick(25);
      }
    };
    r.broken();
    tick(150);
    assert.deepEqual(at, [125]);
    r.broken(); // refused at once
    r.hurry();
    tick(25);
    assert.equal(at.length, 2);
    r.hurry(); // an attempt is under way
    tick(4000);
    assert.equal(at.length, 2);
    tick(40_000); // hanging attempts are followed by others
    assert.ok((at as readonly number[]).length >= 4, String(at));
    assert.equal(expired, 1);
    assert.equal(r.active, false);
    r.broken();
    assert.equal(r.active, true);
    r.done();
    tick(40_000);
    assert.equal(expired, 1);
  } finally {
    mock.timers.reset();
  }
});

test("refusals end a call, losses do not", () => {
  for (const code of ["not_admitted", "bad_signature", "room_full", "kicked", "limit", "link_mismatch", "version"]) {
    assert.equal(failureOf(code).retry, false, code);
  }
  for (const code of ["media_closed", "unknown_peer", "busy", "shutdown", "internal", "duplicate_conn", "rate_limited", "constructor", "from the future"]) {
    const { retry, problem } = failureOf(code);
    assert.equal(retry, true, code);
    assert.ok(problem.title && problem.text, code);
  }
});

test("device errors have a name each", () => {
  assert.equal(deviceProblem("camera", "NotAllowedError").code, "permission_denied_camera");
  assert.equal(deviceProblem("mic", "NotFoundError").code, "device_missing_mic");
  assert.equal(deviceProblem("camera", "NotReadableError").code, "device_busy_camera");
});
