// What persons do in a room, engine to engine: let in, put out, share, and come
// twice.

import assert from "node:assert/strict";
import { test } from "node:test";
import { takeLock } from "../src/room_lock.ts";
import { memoryStorage } from "../src/storage.ts";
import { Participant, until, World } from "./fixtures.ts";

/** One browser's Web Locks. The browser may not answer. */
class Locks {
  silent = false;
  private readonly held = new Set<string>();

  readonly manager = { request: this.request.bind(this) } as unknown as LockManager;

  has(name: string): boolean {
    return this.held.has(name);
  }

  async request(name: string, options: { ifAvailable?: boolean }, task: (lock: object | null) => unknown): Promise<unknown> {
    assert.ok(options.ifAvailable, "a request that waits may never be answered");
    if (this.silent) return new Promise(() => undefined);
    await Promise.resolve();
    if (this.held.has(name)) return task(null);
    this.held.add(name);
    try {
      return await task({ name });
    } finally {
      this.held.delete(name);
    }
  }
}

test("a second tab in the same room takes part under a key of its own, and a later one under the kept key again", async () => {
  const world = new World();
  const [storage, locks] = [memoryStorage(), new Locks().manager];
  const enter = async (): Promise<Participant> => {
    const p = await world.participant("Alice", storage, locks);
    await world.enter(p);
    await world.until(() => world.room.every((o) => o.of("membership").at(-1)?.members.length === world.room.length));
    return p;
  };
  const first = await enter();
  const second = await enter();
  const kept = first.last("identity");
  assert.equal(kept.persistent, true);
  assert.deepEqual(second.of("identity").map((m) => m.persistent), [true, false]);
  assert.notEqual(second.last("identity").fingerprint, kept.fingerprint);
  assert.deepEqual(first.membership().members.map((m) => m.fingerprint).sort(), [kept.fingerprint, second.last("identity").fingerprint].sort());
  assert.equal(second.membership().members.find((m) => m.self)!.known, "name_conflict", "it looks like the impostor that it could be");

  await world.leave(first);
  await first.handle({ type: "reset" }); // gives the lock back
  await world.until(() => second.membership().members.length === 1);
  const third = await enter();
  assert.equal(third.last("identity").fingerprint, kept.fingerprint);
});

test("a browser that does not answer for a lock keeps nobody out", async (t) => {
  const locks = new Locks();
  locks.silent = true;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const answer = takeLock(locks.manager, "room", 150);
  t.mock.timers.tick(3000);
  assert.equal(await answer, null);
});

test("a lock is waited for, and given back by who has left before it came", async () => {
  const locks = new Locks();
  const release = await takeLock(locks.manager, "room", 0);
  assert.ok(release);
  assert.equal(await takeLock(locks.manager, "room", 0), null);
  const second = takeLock(locks.manager, "room", 10_000);
  setTimeout(release, 5);
  const releaseSecond = await second;
  assert.ok(releaseSecond, "the tab before has gone");
  releaseSecond();
  await until(() => !locks.has("room"));
});

test("a newcomer knocks, is refused by one and let in by another", async () => {
  const { world, people } = await World.of("Alice", "Bob");
  const [alice, bob] = people as [Participant, Participant];
  await bob.handle({ type: "policy", locked: false, knock: true });
  assert.equal(bob.of("error").at(-1)?.code, "not_host");
  await alice.handle({ type: "policy", locked: false, knock: true });
  await world.until(() => bob.membership().knock);
  const carol = await world.participant("Carol");
  await world.enter(carol);
  await world.until(() => (bob.of("knocks").at(-1)?.list.length ?? 0) === 1);
  const [waiting] = bob.last("knocks").list;
  assert.deepEqual([waiting!.connId, waiting!.name, waiting!.fingerprint, waiting!.known], [carol.connId, "Carol", carol.last("identity").fingerprint, "new"]);
  await world.advance(5000);
  assert.equal(alice.membership().members.length, 2, "nobody is let in by the clock");
  assert.equal(carol.membership().state, "waiting");

  await bob.handle({ type: "refuse", connId: carol.connId });
  assert.equal(bob.last("knocks").list.length, 0);
  await alice.handle({ type: "admit", connId: carol.connId });
  await world.until(() => carol.membership().state === "member");
  assert.deepEqual(bob.names(), ["Alice", "Bob", "Carol"]);
  await world.until(() => alice.last("knocks").list.length === 0);
  await alice.handle({ type: "admit", connId: carol.connId });
  assert.equal(alice.of("error").at(-1)?.code, "unknown_person");
});

test("who is kicked is out, and the room has another link", async () => {
  const { world, people } = await World.of("Alice", "Bob", "Carol");
  const [alice, bob, carol] = people as [Participant, Participant, Participant];
  await bob.handle({ type: "kick", connId: carol.connId });
  assert.equal(bob.of("error").at(-1)?.code, "not_host");
  assert.deepEqual(bob.of("evict"), []);

  await alice.handle({ type: "kick", connId: carol.connId });
  const evict = alice.last("evict");
  assert.deepEqual([evict.connId, evict.hostToken.length], [carol.connId, 43]);
  await world.until(() => alice.names().length === 2 && bob.of("link").length > 0);
  assert.equal(carol.membership().state, "removed");
  assert.ok(carol.of("notice").some((n) => n.code === "removed"));
  assert.deepEqual(carol.of("link"), [], "the new link is not hers");

  const links = [alice, bob].map((p) => p.last("link"));
  assert.deepEqual(new Set(links.map((l) => `${l.gen} ${l.roomId} ${l.secret}`)).size, 1);
  const [link] = links;
  assert.equal(link!.gen, 1);
  assert.notEqual(link!.secret, alice.secret);
  assert.deepEqual(links.map((l) => l.hostToken), [evict.hostToken, undefined]);

  // The old link leads in no more, the new one does.
  const late = new Participant(world);
  await late.handle({ type: "init", secret: alice.secret, gen: 0, host: "meet.example" });
  await late.handle({ type: "profile", name: "Late", throwaway: false });
  await world.leave(carol);
  await world.enter(late);
  await world.advance(5000);
  assert.equal(late.membership().state, "waiting");
  const invited = new Participant(world);
  await invited.handle({ type: "init", secret: link!.secret, gen: link!.gen, host: "meet.example" });
  assert.equal(invited.last("ready").roomId, link!.roomId);
  await invited.handle({ type: "profile", name: "Dan", throwaway: false });
  await world.enter(invited);
  await world.until(() => invited.membership().state === "member");
  assert.deepEqual(alice.names(), ["Alice", "Bob", "Dan"]);
});

test("whose room it is stays known: another founder under the same link is told of", async () => {
  const world = new World();
  const bobs = memoryStorage();
  const meet = async (host: string, storage = memoryStorage(), accept = false): Promise<Participant> => {
    const [first, bob] = [await world.participant(host, storage), await world.participant("Bob", bobs)];
    await world.enter(first);
    await world.until(() => first.of("membership").at(-1)?.state === "member");
    await world.enter(bob);
    await world.until(() => bob.of("membership").at(-1)?.members.length === 2);
    if (accept) await bob.handle({ type: "accept_host" });
    for (const p of [bob, first]) await world.leave(p);
    world.position = null; // nobody is left
    return bob;
  };
  const alices = memoryStorage();
  const others = memoryStorage();
  const told = (p: Participant) => p.of("notice").filter((n) => n.code === "host_changed").length;
  assert.equal(told(await meet("Alice", alices)), 0);
  assert.equal(told(await meet("Alice", alices)), 0);
  const bob = await meet("Alice");
  assert.equal(told(bob), 1);
  assert.equal(bob.membership().members.find((m) => m.host)!.known, "name_conflict");
  // Every time, until the person has said that it is right.
  assert.equal(told(await meet("Alice", others)), 1);
  assert.equal(told(await meet("Alice", others, true)), 1);
  assert.equal(told(await meet("Alice", others)), 0);
  assert.equal(told(await meet("Alice", alices)), 1);
});

test("the host's lock outlives its group where the host founds the next; else the host is told", async () => {
  const world = new World();
  const kept = memoryStorage();
  const alone = async (name: string, storage: typeof kept): Promise<Participant> => {
    const p = await world.participant(name, storage);
    await world.enter(p);
    await world.until(() => p.of("membership").at(-1)?.state === "member");
    return p;
  };
  const reload = async (p: Participant): Promise<void> => {
    await world.leave(p);
    world.position = null;
  };
  const host = await alone("Alice", kept);
  assert.equal(host.membership().locked, false);
  await host.handle({ type: "policy", locked: true, knock: false });
  await world.until(() => host.membership().locked);
  await reload(host);
  const again = await alone("Alice", kept);
  assert.ok(again.membership().isHost && again.membership().locked);
  await reload(again);

  await alone("Bob", memoryStorage());
  const late = await alone("Alice", kept);
  assert.deepEqual(late.of("notice").map((n) => n.code).filter((c) => c === "lock_lost" || c === "host_changed"), ["host_changed", "lock_lost"]);
  assert.ok(!late.membership().locked);
});

test("two who wait under one name are told apart", async () => {
  const world = new World();
  const host = await world.participant("Alice");
  await world.enter(host);
  await world.until(() => host.of("membership").at(-1)?.state === "member");
  await host.handle({ type: "policy", locked: false, knock: true });
  await world.until(() => host.membership().knock);
  for (const name of ["Carol", "carol", "Dan"]) await world.enter(await world.participant(name));
  await world.until(() => host.of("knocks").at(-1)?.list.length === 3);
  assert.deepEqual(host.last("knocks").list.map((k) => k.known), ["name_conflict", "name_conflict", "new"]);
});

test("a person who was verified is so in the next call", async () => {
  const { people } = await World.of("Alice", "Bob");
  const [alice, bob] = people as [Participant, Participant];
  const of = (p: Participant) => p.membership().members.find((m) => m.connId === bob.connId)!;
  assert.equal(of(alice).known, "new");
  await alice.handle({ type: "verify", fingerprint: of(alice).fingerprint, verified: true });
  assert.equal(of(alice).known, "verified");
  await alice.handle({ type: "verify", fingerprint: "0".repeat(16), verified: true });
  assert.equal(alice.of("error").at(-1)?.code, "unknown_person");

  const next = new World();
  for (const p of [["Alice", alice.storage], ["Bob", bob.storage]] as const) {
    const q = await next.participant(p[0], p[1]);
    await next.enter(q);
    await next.until(() => next.room.every((o) => o.of("membership").at(-1)?.members.length === next.room.length));
  }
  const [again] = next.room as [Participant];
  assert.deepEqual(again.membership().members.filter((m) => !m.self).map((m) => m.known), ["verified"]);
});

test("a file goes from one engine to the other, its key by the group alone", async () => {
  const { world, people } = await World.of("Alice", "Bob");
  const [alice, bob] = people as [Participant, Participant];
  await alice.handle({ type: "file_seal", id: "f1", file: new Blob(["minutes of the meeting"]) });
  const { file } = alice.last("file_sealed");
  assert.ok(!(await file.text()).includes("minutes"));
  const body = { id: "f1", name: "minutes.txt", path: `/blob/${"a".repeat(26)}`, size: 22 };
  await alice.handle({ type: "app", kind: "file", body });
  await world.settle();
  assert.deepEqual(bob.heard(), [{ type: "app", connId: alice.connId, kind: "file", body }]);
  await bob.handle({ type: "file_open", connId: alice.connId, id: "f1", file });
  await until(() => bob.of("file_opened").length === 1);
  assert.equal(await bob.last("file_opened").file.text(), "minutes of the meeting");
  await bob.handle({ type: "file_open", connId: bob.connId, id: "f1", file });
  assert.deepEqual(bob.of("file_failed").map((m) => m.why), ["unknown_file"]);
});
