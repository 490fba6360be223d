// What is remembered of a room: the token by which the service knows its
// founder, and whose room it was.

import type { Bytes } from "./encoding.ts";
import type { Storage, Store } from "./storage.ts";

export interface Policy {
  locked: boolean;
  knock: boolean;
}

interface Room {
  hostToken: Bytes;
  /** Fingerprint of the founder's key that the person knows; "" if not known. */
  host: string;
  /** What this device's person has set as the host. Absent: nothing. */
  policy?: Policy;
  lastSeen: number;
}

const maxRooms = 200;

export class RoomMemory {
  private constructor(
    private readonly store: Store<Room>,
    private readonly ids: string[],
    private readonly room: Room,
  ) {}

  /** Room ids are those of the link: whoever reads the database learns where one was, not what the link was. */
  static async load(storage: Storage, roomId: string, now: number): Promise<RoomMemory> {
    const store = storage.store<Room>("rooms");
    const fresh: Room = { hostToken: crypto.getRandomValues(new Uint8Array(32)), host: "", lastSeen: now };
    const room = await store.add(roomId, fresh).catch(() => fresh);
    room.lastSeen = now;
    const memory = new RoomMemory(store, [roomId], room);
    memory.write();
    await bound(store, roomId).catch(() => undefined);
    return memory;
  }

  get hostToken(): Bytes {
    return this.room.hostToken;
  }

  /** What the service learns of the token in advance. */
  async hostTag(): Promise<Bytes> {
    return new Uint8Array(await crypto.subtle.digest("SHA-256", this.room.hostToken)).slice(0, 16);
  }

  /** Notes whose room it is, the first time; false if it is another's now, until that one is accepted. */
  host(fingerprint: string): boolean {
    if (this.room.host === "") this.acceptHost(fingerprint);
    return this.room.host === fingerprint;
  }

  acceptHost(fingerprint: string): void {
    if (this.room.host === fingerprint) return;
    this.room.host = fingerprint;
    this.write();
  }

  /** For the group that this device's person founds. */
  get policy(): Policy {
    return this.room.policy ?? { locked: false, knock: false };
  }

  /** keepPolicy is for the host: a group ends with its last member, and the next one begins as it was. */
  keepPolicy({ locked, knock }: Policy): void {
    if (this.policy.locked === locked && this.policy.knock === knock) return;
    this.room.policy = { locked, knock };
    this.write();
  }

  /** The room has another link. */
  renamed(roomId: string): void {
    if (!this.ids.includes(roomId)) this.ids.push(roomId);
    this.write();
  }

  private write(): void {
    for (const id of this.ids) this.store.put(id, this.room).catch(() => undefined);
  }
}

async function bound(store: Store<Room>, except: string): Promise<void> {
  const rooms = await store.all();
  const old = rooms.filter(([id]) => id !== except).sort(([, a], [, b]) => a.lastSeen - b.lastSeen);
  for (const [id] of old.slice(0, Math.max(0, rooms.length - maxRooms))) await store.delete(id);
}
