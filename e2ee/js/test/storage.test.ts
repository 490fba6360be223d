// What a browser keeps from one call to the next: the key, the people, the rooms.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Identity } from "../src/identity.ts";
import { People, type Contact } from "../src/people.ts";
import { RoomMemory } from "../src/rooms.ts";
import { memoryStorage, openStorage, type Storage } from "../src/storage.ts";
import { toHex, World } from "./fixtures.ts";

/** As much of IndexedDB as storage.ts uses; databases outlive a "restart". */
class FakeDatabases {
  private readonly stores = new Map<string, Map<string, unknown>>();
  private created = false;

  open(): IDBOpenDBRequest {
    const database = {
      createObjectStore: (name: string) => void this.stores.set(name, new Map()),
      transaction: (name: string) => ({ objectStore: () => this.store(name) }),
    };
    const request = answer(database) as unknown as { result: unknown; onupgradeneeded: (() => void) | null };
    queueMicrotask(() => {
      if (!this.created) request.onupgradeneeded?.();
      this.created = true;
    });
    return request as unknown as IDBOpenDBRequest;
  }

  private store(name: string) {
    const values = this.stores.get(name)!;
    return {
      get: (key: string) => answer(values.get(key)),
      getAll: () => answer([...values.values()]),
      getAllKeys: () => answer([...values.keys()]),
      put: (value: unknown, key: string) => answer(void values.set(key, structuredClone(value))),
      delete: (key: string) => answer(void values.delete(key)),
    };
  }
}

function answer(result: unknown): object {
  const request = { result, onsuccess: null as (() => void) | null, onerror: null };
  setImmediate(() => request.onsuccess?.());
  return request;
}

const databases = (): IDBFactory => new FakeDatabases() as unknown as IDBFactory;

test("a database that does not answer is one that is not there", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const opening = openStorage({ open: () => ({}) } as unknown as IDBFactory);
  t.mock.timers.tick(3000);
  await assert.rejects(opening, /storage/);
});

test("values stay in the database, and the first of two that are added at once", async () => {
  const factory = databases();
  const store = (await openStorage(factory)).store<{ n: number }>("rooms");
  assert.equal(await store.get("a"), undefined);
  assert.deepEqual(await store.add("a", { n: 1 }), { n: 1 });
  assert.deepEqual(await store.add("a", { n: 2 }), { n: 1 });
  await store.put("b", { n: 3 });
  const later = (await openStorage(factory)).store<{ n: number }>("rooms");
  assert.deepEqual(await later.all(), [["a", { n: 1 }], ["b", { n: 3 }]]);
  await later.delete("a");
  assert.equal(await store.get("a"), undefined);
  assert.deepEqual(await (await openStorage(factory)).store("people").all(), []);
});

test("an identity is kept over restarts, cannot be taken out, and is another in another browser", async () => {
  const factory = databases();
  const first = await Identity.load(await openStorage(factory));
  const second = await Identity.load(await openStorage(factory));
  assert.equal(first.fingerprint, second.fingerprint);
  assert.ok(first.persistent && second.persistent);
  const message = new TextEncoder().encode("message") as Uint8Array<ArrayBuffer>;
  assert.equal(toHex(await first.sign(message)), toHex(await second.sign(message)));
  assert.equal(first["privateKey"].extractable, false);
  assert.notEqual((await Identity.load(await openStorage(databases()))).fingerprint, first.fingerprint);
});

test("where nothing can be stored, or nothing is to be, the identity goes with the worker", async () => {
  const broken = { store: () => ({ get: () => Promise.reject(new Error("no")) }) } as unknown as Storage;
  assert.equal((await Identity.load(broken)).persistent, false);
  const [a, b] = [await Identity.throwaway(), await Identity.throwaway()];
  assert.ok(!a.persistent && a.fingerprint !== b.fingerprint);
});

test("a throw-away profile leaves nothing in the browser", async () => {
  const world = new World();
  const storage = memoryStorage();
  const p = await world.participant("Alice", storage);
  const kept = p.last("identity");
  assert.equal(kept.persistent, true);
  assert.equal((await world.participant("Alice", storage)).last("identity").fingerprint, kept.fingerprint);

  const other = memoryStorage();
  const q = await world.participant("Mallory", other);
  const before = (await other.store("people").all()).length;
  await q.handle({ type: "profile", name: "Mallory", throwaway: true });
  assert.equal(q.last("identity").persistent, false);
  await world.enter(q);
  await world.until(() => q.of("membership").at(-1)?.state === "member");
  assert.equal((await other.store("people").all()).length, before);
  assert.deepEqual(await other.store("rooms").all(), []);
});

test("people are known by their key, and a name that another key had is a conflict until verified", async () => {
  const store = memoryStorage().store<Contact>("people");
  const people = await People.load(store, true);
  assert.equal(people.meet("a1", "Alice", 1), "new");
  assert.equal(people.meet("a1", "Alice", 2), "new", "what was said stays for the meeting");

  const next = await People.load(store, true);
  assert.equal(next.meet("a1", "Alice", 3), "known");
  assert.equal(next.meet("a1", "Alice B", 3), "known", "the key counts, not the name");
  for (const name of ["Alice", "alice", "  ALICE ", "Ａlice"]) assert.equal(next.meet("e5", name, 4), "name_conflict", name);
  assert.equal(next.meet("e5", "Eve", 4), "known");
  assert.equal(next.meet("c3", "", 4), "new", "no name is nobody's");
  next.verify("e5", "Alice", true, 5);
  assert.equal(next.meet("e5", "Alice", 5), "verified");

  const last = await People.load(store, true);
  assert.equal(last.meet("e5", "Alice", 6), "verified");
  last.verify("e5", "", false, 7);
  assert.equal(last.meet("e5", "Alice", 8), "known");
  const contact = (await store.get("e5"))!;
  assert.deepEqual([contact.firstSeen, contact.lastSeen, contact.verified], [4, 8, false]);
});

test("as many people are remembered as there is room for, the verified longest", async () => {
  const store = memoryStorage().store<Contact>("people");
  const people = await People.load(store, true);
  people.meet("friend", "Friend", 0);
  people.verify("friend", "Friend", true, 0);
  for (let i = 0; i < 2010; i++) people.meet(`k${i}`, `n${i}`, i + 1);
  const kept = new Set((await store.all()).map(([key]) => key));
  assert.equal(kept.size, 2000);
  assert.ok(kept.has("friend") && kept.has("k2009") && !kept.has("k0"));
});

test("a room keeps its host token and whose it was, under every name", async () => {
  const storage = memoryStorage();
  const room = await RoomMemory.load(storage, "room1", 1);
  assert.equal(room.hostToken.length, 32);
  assert.equal((await room.hostTag()).length, 16);
  assert.equal(room.host("alice"), true, "the first is believed");
  room.renamed("room2");
  for (const id of ["room1", "room2"]) {
    const again = await RoomMemory.load(storage, id, 2);
    assert.deepEqual(again.hostToken, room.hostToken);
    assert.equal(again.host("alice"), true);
  }
  const again = await RoomMemory.load(storage, "room2", 3);
  assert.equal(again.host("mallory"), false);
  assert.equal(again.host("mallory"), false, "until that one is accepted");
  again.acceptHost("mallory");
  assert.equal(again.host("mallory"), true);
  again.keepPolicy({ locked: true, knock: false });
  assert.deepEqual((await RoomMemory.load(storage, "room1", 4)).policy, { locked: true, knock: false });
  assert.notDeepEqual((await RoomMemory.load(storage, "room3", 3)).hostToken, room.hostToken);
});

test("the rooms seen longest ago are forgotten", async () => {
  const storage = memoryStorage();
  for (let i = 0; i < 210; i++) await RoomMemory.load(storage, `r${i}`, i);
  const kept = (await storage.store("rooms").all()).map(([id]) => id);
  assert.equal(kept.length, 200);
  assert.ok(kept.includes("r209") && !kept.includes("r9"));
});
