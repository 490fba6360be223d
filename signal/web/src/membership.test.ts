import assert from "node:assert/strict";
import test from "node:test";

import type { GroupMember, ToWorker } from "../../../e2ee/js/src/messages.ts";
import { download } from "./files.ts";
import { Membership, type MembershipPort } from "./membership.ts";
import { RequestError } from "./signaling.ts";

function person(connId: string, more: Partial<GroupMember> = {}): GroupMember {
  return { connId, name: connId.toUpperCase(), host: false, self: false, fingerprint: "0123456789abcdef", known: "new", ...more };
}

function room(): { membership: Membership; posted: ToWorker[]; port: MembershipPort; told: string[] } {
  const posted: ToWorker[] = [];
  const told: string[] = [];
  const membership = new Membership({ link: (l) => told.push(`link ${l.gen}`), removed: (code) => told.push(code), stuck: () => told.push("stuck") });
  const port: MembershipPort = {
    post: (m) => posted.push(m),
    evict: (connId) => told.push(`evict ${connId}`),
    alias: (l) => {
      told.push(`alias ${l.roomId}`);
      return Promise.resolve(true);
    },
    upload: () => Promise.resolve("/blob/aaaaaaaaaaaaaaaaaaaaaaaaaa"),
    download: () => Promise.resolve(new Blob(["sealed"])),
  };
  membership.attach(port);
  return { membership, posted, port, told };
}

function members(membership: Membership, epoch: number, ...list: GroupMember[]): void {
  membership.take({ type: "membership", state: "member", isHost: false, locked: false, knock: false, epoch, members: list });
}

test("what others say is shown under the name that the group gives them", () => {
  const { membership } = room();
  members(membership, 1, person("me", { self: true }), person("a"));
  membership.take({ type: "app", connId: "a", kind: "chat", body: { id: "1", text: "hello" } });
  membership.take({ type: "app", connId: "a", kind: "chat", body: { id: "1", text: "again" } });
  assert.deepEqual(membership.lines.map((l) => [l.name, l.text]), [["A", "hello"]]);
});

test("a raised hand is told again to who comes later, and goes with its owner", () => {
  const { membership, posted } = room();
  members(membership, 1, person("me", { self: true }), person("a"));
  membership.raiseHand(true);
  const hands = (): number => posted.filter((m) => m.type === "app" && m.kind === "hand").length;
  assert.equal(hands(), 1);
  members(membership, 2, person("me", { self: true }), person("a"), person("b"));
  assert.equal(hands(), 2);
  members(membership, 3, person("me", { self: true }), person("b"));
  assert.equal(hands(), 2);
  membership.take({ type: "app", connId: "b", kind: "hand", body: { raised: true } });
  assert.deepEqual([...membership.hands], ["b"]);
  members(membership, 4, person("me", { self: true }));
  assert.deepEqual([...membership.hands], []);
});

test("a code is of one epoch", () => {
  const { membership } = room();
  members(membership, 1, person("me", { self: true }), person("a"));
  membership.take({ type: "codes", group: { digits: "1", emoji: [], words: [] }, persons: [] });
  assert.equal(membership.codes?.group.digits, "1");
  members(membership, 2, person("me", { self: true }));
  assert.equal(membership.codes, null);
});

test("a file is sealed, uploaded and told of", async () => {
  const { membership, posted } = room();
  members(membership, 1, person("me", { self: true }), person("a"));
  const file = (): { state: string; done: number } | null => membership.lines[0]?.file ?? null;
  const sent = membership.sendFile(new File(["secret"], "plan.txt"));
  const seal = posted.find((m) => m.type === "file_seal");
  assert.ok(seal?.type === "file_seal");
  membership.take({ type: "file_progress", id: seal.id, done: 3, total: 6 });
  assert.equal(file()?.done, 3);
  membership.take({ type: "file_sealed", id: seal.id, file: new Blob(["sealed"]) });
  await sent;
  assert.deepEqual(posted.filter((m) => m.type === "app"), [
    { type: "app", kind: "file", body: { id: seal.id, name: "plan.txt", path: "/blob/aaaaaaaaaaaaaaaaaaaaaaaaaa", size: 6 } },
  ]);
  assert.equal(file()?.state, "done");
});

test("the host's acts go to the service, and being removed is told once", () => {
  const { membership, told } = room();
  membership.take({ type: "evict", connId: "a", hostToken: "t" });
  membership.take({ type: "link", roomId: "r2", secret: "s", gen: 1, linkPub: "p", linkSig: "g" });
  membership.take({ type: "notice", code: "removed" });
  assert.deepEqual(told, ["evict a", "alias r2", "link 1", "removed"]);
});

test("another session does not take over what the one before knew of the group", () => {
  const { membership, port } = room();
  members(membership, 5, person("me", { self: true }), person("a"));
  membership.say("hello");
  const next = { ...port };
  membership.attach(next);
  membership.detach(port); // late; the newer one stays
  assert.equal(membership.state, "connecting");
  assert.equal(membership.members.length, 0);
  assert.equal(membership.lines.length, 1);
});

test("signing what is sent is off until the person wants it, and goes on in the next session", () => {
  const { membership, posted, port } = room();
  assert.deepEqual(posted, []);
  membership.setSignMedia(true);
  membership.detach(port);
  const later: ToWorker[] = [];
  membership.attach({ ...port, post: (m) => later.push(m) });
  assert.deepEqual([posted, later], [[{ type: "sign_media", on: true }], [{ type: "sign_media", on: true }]]);
});

test("what a person types or attaches is made acceptable to the others", async () => {
  const { membership, posted } = room();
  members(membership, 1, person("me", { self: true }), person("a"));
  membership.say("one\vtwo\u0007\r\nthree\tfour");
  membership.say("\u0000");
  membership.say(`${"x".repeat(3999)}😀`); // cut in the middle of a character
  const sent = membership.sendFile(new File(["secret"], "fam\u200dily\u202egpj.exe/x"));
  const seal = posted.find((m) => m.type === "file_seal");
  assert.ok(seal?.type === "file_seal");
  membership.take({ type: "file_sealed", id: seal.id, file: new Blob(["sealed"]) });
  await sent;
  const told = posted.flatMap((m) => (m.type === "app" ? [m.kind === "chat" ? m.body.text : m.kind === "file" ? m.body.name : ""] : []));
  assert.deepEqual(told, ["one\ntwo\nthree\tfour", "x".repeat(3999), "familygpj.exex"]);
});

test("a file keeps the place that was told first", async () => {
  const { membership, port } = room();
  const paths: string[] = [];
  port.download = (path, size) => {
    paths.push(`${path} ${size}`);
    return Promise.resolve(new Blob(["sealed"]));
  };
  members(membership, 1, person("me", { self: true }), person("a"));
  for (const path of ["/blob/aaaaaaaaaaaaaaaaaaaaaaaaaa", "/blob/bbbbbbbbbbbbbbbbbbbbbbbbbb"]) {
    membership.take({ type: "app", connId: "a", kind: "file", body: { id: "1", name: "plan", path, size: 6 } });
  }
  for (const line of membership.lines) await membership.openFile(line);
  assert.deepEqual(paths, ["/blob/aaaaaaaaaaaaaaaaaaaaaaaaaa 6"]);
});

test("a new link that the service refuses is told, until one works", async () => {
  const { membership, port } = room();
  const link = { type: "link", roomId: "r2", secret: "s", gen: 1, linkPub: "p", linkSig: "g" } as const;
  for (const works of [false, true]) {
    port.alias = () => Promise.resolve(works);
    membership.take(link);
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(membership.linkRefused, !works);
  }
});

test("why a file failed is kept for the person", async () => {
  const { membership, port } = room();
  port.download = () => Promise.reject(new RequestError("file_gone"));
  members(membership, 1, person("me", { self: true }), person("a"));
  membership.take({ type: "app", connId: "a", kind: "file", body: { id: "1", name: "plan", path: "/blob/aaaaaaaaaaaaaaaaaaaaaaaaaa", size: 6 } });
  const [line] = membership.lines;
  assert.ok(line);
  await membership.openFile(line);
  assert.deepEqual([line.file?.state, line.file?.why], ["failed", "file_gone"]);
  membership.take({ type: "file_failed", id: "1", why: "damaged" });
  assert.equal(line.file?.why, "damaged");
});

test("no more is read of a file than what was announced", async () => {
  const path = "/blob/aaaaaaaaaaaaaaaaaaaaaaaaaa";
  let cancelled = false;
  const serve = (...chunks: number[]): void => {
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        const n = chunks.shift();
        if (n === undefined) controller.close();
        else controller.enqueue(new Uint8Array(n));
      },
      cancel: () => { cancelled = true; },
    });
    globalThis.fetch = () => Promise.resolve(new Response(body));
  };
  const { fetch } = globalThis;
  try {
    serve(6, 16);
    assert.equal((await download(path, 6)).size, 22);
    serve(6, 17, 1_000_000);
    await assert.rejects(download(path, 6), { code: "damaged" });
    assert.ok(cancelled);
    globalThis.fetch = () => Promise.resolve(new Response(null, { status: 429 }));
    await assert.rejects(download(path, 6), { code: "files_busy" });
  } finally {
    globalThis.fetch = fetch;
  }
});
