import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError, decode } from "./protocol.ts";

const decodes = (value: unknown): unknown => decode(JSON.stringify(value));
const refuses = (value: unknown, why: RegExp): void => {
  assert.throws(() => decodes(value), (e) => e instanceof ProtocolError && why.test(e.message), JSON.stringify(value));
};

test("each message decodes", () => {
  assert.deepEqual(decodes({ type: "hello", version: 1, nonce: "bm9uY2U", limits: {} }), { type: "hello", version: 1, nonce: "bm9uY2U" });
  assert.deepEqual(
    decodes({ type: "welcome", id: 1, leaf: 7, peers: [{ conn_id: "a", leaf: 0, tracks: [{ source: "camera", muted: true }] }] }),
    { type: "welcome", id: 1, leaf: 7, peers: [{ connId: "a", leaf: 0, tracks: [{ source: "camera", muted: true }] }], resume: "", resumed: false, lost: false, group: null },
  );
  assert.deepEqual(
    decodes({ type: "welcome", id: 9, leaf: 7, resume: "AQID", resumed: true, lost: true }),
    { type: "welcome", id: 9, leaf: 7, peers: [], resume: "AQID", resumed: true, lost: true, group: null },
  );
  assert.deepEqual(decodes({ type: "peers", peers: [{ conn_id: "a", leaf: 3 }] }), { type: "peers", peers: [{ connId: "a", leaf: 3, tracks: [] }] });
  assert.deepEqual(decodes({ type: "peer_joined", conn_id: "a", leaf: 255 }), { type: "peer_joined", connId: "a", leaf: 255 });
  assert.deepEqual(decodes({ type: "peer_left", conn_id: "a", reason: "gone" }), { type: "peer_left", connId: "a", reason: "gone" });
  assert.deepEqual(decodes({ type: "answer", id: 2, sdp: "v=0" }), { type: "answer", id: 2, sdp: "v=0" });
  assert.deepEqual(decodes({ type: "slots", slots: [{ mid: "2", conn_id: "a", source: "mic" }, { mid: "3", conn_id: "a", source: "camera", paused: "hidden" }] }), {
    type: "slots", slots: [{ mid: "2", connId: "a", source: "mic", paused: "" }, { mid: "3", connId: "a", source: "camera", paused: "hidden" }],
  });
  assert.deepEqual(decodes({ type: "wanted", tracks: [{ source: "camera", layers: 2, codec: "vp8" }, { source: "screen", layers: 0 }] }), {
    type: "wanted", tracks: [{ source: "camera", layers: 2, codec: "vp8" }, { source: "screen", layers: 0, codec: "" }],
  });
  assert.deepEqual(decodes({ type: "error", code: "busy", message: "", fatal: true }), { type: "error", id: null, code: "busy", message: "", fatal: true });
});

test("an empty list may be missing or null", () => {
  assert.deepEqual(decodes({ type: "group", gi: "g", slot: 0 }), { type: "group", group: { gi: "g", slot: 0 } });
  assert.deepEqual(decodes({ type: "group" }), { type: "group", group: null });
  assert.deepEqual(decodes({ type: "stale" }), { type: "stale", group: null });
  assert.deepEqual(decodes({ type: "ticket", gi: "g", slot: 4, host_tag: "h", ticket: "t" }), { type: "ticket", group: { gi: "g", slot: 4 }, hostTag: "h", ticket: "t" });
  assert.deepEqual(decodes({ type: "done", id: 3 }), { type: "done", id: 3 });
  assert.deepEqual(decodes({ type: "upload", id: 3, path: "/blob/2di5uz3hkyuzfwpmgmfsdw6q2m", token: "t" }), { type: "upload", id: 3, path: "/blob/2di5uz3hkyuzfwpmgmfsdw6q2m", token: "t" });
  for (const path of ["https://elsewhere.example/blob/2di5uz3hkyuzfwpmgmfsdw6q2m", "//elsewhere.example/", "/blob/../r/x", "/blob/short"]) {
    assert.throws(() => decodes({ type: "upload", id: 3, path, token: "t" }), ProtocolError);
  }
  assert.deepEqual(decodes({ type: "slots", slots: null }), { type: "slots", slots: [] });
  assert.deepEqual(decodes({ type: "peer_tracks", conn_id: "a" }), { type: "peer_tracks", connId: "a", tracks: [] });
});

test("newer services may say more", () => {
  assert.deepEqual(decodes({ type: "chapter", n: 1 }), { type: "unknown" });
  assert.deepEqual(decodes({ type: "slots", slots: [{ mid: "2", conn_id: "a", source: "camera", paused: "weather" }] }), {
    type: "slots", slots: [{ mid: "2", connId: "a", source: "camera", paused: "publisher" }],
  });
  assert.deepEqual(decodes({ type: "wanted", tracks: [{ source: "hologram", layers: 1 }] }), { type: "wanted", tracks: [] });
  assert.deepEqual(decodes({ type: "peer_tracks", conn_id: "a", tracks: [{ source: "hologram", muted: false }, { source: "mic", muted: false, level: 3 }] }), {
    type: "peer_tracks", connId: "a", tracks: [{ source: "mic", muted: false }],
  });
});

test("what is not right is refused", () => {
  assert.throws(() => decode("{"), ProtocolError);
  refuses([], /not an object/);
  refuses({}, /type/);
  refuses({ type: "welcome", id: -1, leaf: 0, peers: [] }, /id/);
  refuses({ type: "welcome", id: 1, leaf: 256, peers: [] }, /leaf/);
  refuses({ type: "welcome", id: 1, leaf: 1.5, peers: [] }, /leaf/);
  refuses({ type: "welcome", id: 1, leaf: 1, peers: Array(257).fill({ conn_id: "a", leaf: 0 }) }, /peers/);
  refuses({ type: "slots", slots: [{ mid: "1", conn_id: "a", source: "hologram" }] }, /source/);
  refuses({ type: "slots", slots: [null] }, /slot/);
  refuses({ type: "slots", slots: [{ mid: "1", conn_id: "a", source: "mic", paused: 1 }] }, /paused/);
  refuses({ type: "wanted", tracks: [{ source: "camera", layers: 9 }] }, /layers/);
  refuses({ type: "wanted", tracks: [{ source: "camera" }] }, /layers/);
  refuses({ type: "answer", id: 1, sdp: "" }, /sdp/);
  refuses({ type: "peer_left", conn_id: 3 }, /conn_id/);
  refuses({ type: "error", code: "x", id: "1" }, /id/);
});
