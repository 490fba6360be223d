// The membership machine: events in, actions out. The bytes are those of
// package e2ee/wasm (calls.go and write.go).

import type { Bytes } from "./encoding.ts";
import { toBase64url } from "./encoding.ts";
import type { MembershipState, NoticeCode } from "./messages.ts";
import type { Policy } from "./rooms.ts";
import { Reader, Writer } from "./wire.ts";

/** Where the service says the group stands; gi is 16 bytes. */
export interface Position {
  gi: Bytes;
  slot: number;
}

export interface Start {
  gen: number;
  secret: Bytes;
  conn: Bytes;
  /** Ed25519 public key. */
  identity: Bytes;
  hostTag: Bytes;
  name: string;
  /** Of a group that this client founds. */
  policy: Policy;
}

/** Media keys of an epoch. members: leaf -> connId, the own included. */
export interface EpochKeys {
  epoch: number;
  base: Bytes;
  leaf: number;
  members: Map<number, string>;
}

export interface Person {
  connId: string;
  leaf: number;
  host: boolean;
  /** Identity key. */
  key: Bytes;
  name: string;
}

export interface GroupState {
  state: MembershipState;
  epoch: number;
  isHost: boolean;
  locked: boolean;
  knock: boolean;
  members: Person[];
}

export interface AppEvent {
  connId: string;
  leaf: number;
  epoch: number;
  kind: number;
  body: Bytes;
}

/** What to do, in the order of the fields. */
export interface Actions {
  send: Bytes[];
  sign: { id: number; message: Bytes }[];
  stop: boolean;
  keys: EpochKeys[];
  sendEpoch: number[];
  dropped: { leaf: number; epoch: number }[];
  forget: number[];
  messages: AppEvent[];
  state: GroupState | null;
  knocks: { connId: string; key: Bytes; name: string }[] | null;
  notices: { code: NoticeCode; connId: string; name: string }[];
  link: { gen: number; secret: Bytes } | null;
}

/** Why an event was refused. */
export type Refusal =
  | "malformed" | "config" | "order" | "roster" | "envelope" | "message"
  | "not_member" | "not_host" | "unknown" | "full" | "signature" | "failed";

export interface Outcome {
  refused: Refusal | null;
  /** When "tick" has to be called at the latest, ms since 1970. */
  next: number;
  actions: Actions;
}

const refusals: readonly Refusal[] = [
  "malformed", "config", "order", "roster", "envelope", "message",
  "not_member", "not_host", "unknown", "full", "signature", "failed",
];

// First byte of a call.
const callStart = 0;
const callWelcome = 1;
const callResumed = 2;
const callJoined = 3;
const callLeft = 4;
const callPeers = 5;
const callPosition = 6;
const callStale = 7;
const callEnvelope = 8;
const callSigned = 9;
const callTick = 10;
const callAdmit = 11;
const callRefuse = 12;
const callKick = 13;
const callSetPolicy = 14;
const callRotate = 15;
const callSend = 16;
const callSecrets = 17;

/** Times are milliseconds since 1970, of a clock that never goes back. */
export class Machine {
  constructor(private readonly call: (event: Uint8Array) => Uint8Array) {}

  start(s: Start): Refusal | null {
    const event = new Writer(callStart).u16(s.gen).raw(s.secret).raw(s.conn).raw(s.identity).raw(s.hostTag)
      .flag(s.policy.locked).flag(s.policy.knock).text(s.name).bytes();
    const result = this.call(event);
    event.fill(0);
    return refusalOf(result[0]!);
  }

  welcome(now: number, peers: Bytes[], at: Position | null): Outcome {
    return this.run(position(event(callWelcome, now), at).raw(...peers));
  }

  resumed(now: number, peers: Bytes[], at: Position | null, lost: boolean): Outcome {
    return this.run(position(event(callResumed, now).flag(lost), at).raw(...peers));
  }

  peerJoined(now: number, conn: Bytes): Outcome {
    return this.run(event(callJoined, now).raw(conn));
  }

  peerLeft(now: number, conn: Bytes): Outcome {
    return this.run(event(callLeft, now).raw(conn));
  }

  peers(now: number, all: Bytes[]): Outcome {
    return this.run(event(callPeers, now).raw(...all));
  }

  position(now: number, at: Position | null): Outcome {
    return this.run(position(event(callPosition, now), at));
  }

  stale(now: number, at: Position | null): Outcome {
    return this.run(position(event(callStale, now), at));
  }

  /** data: u64 seq || envelope. */
  envelope(now: number, data: Bytes): Outcome {
    return this.run(event(callEnvelope, now).raw(data));
  }

  signed(now: number, id: number, signature: Bytes): Outcome {
    return this.run(event(callSigned, now).u32(id).raw(signature));
  }

  tick(now: number): Outcome {
    return this.run(event(callTick, now));
  }

  admit(now: number, conn: Bytes): Outcome {
    return this.run(event(callAdmit, now).raw(conn));
  }

  refuse(now: number, conn: Bytes): Outcome {
    return this.run(event(callRefuse, now).raw(conn));
  }

  kick(now: number, conn: Bytes): Outcome {
    return this.run(event(callKick, now).raw(conn));
  }

  setPolicy(now: number, locked: boolean, knock: boolean): Outcome {
    return this.run(event(callSetPolicy, now).flag(locked).flag(knock));
  }

  rotate(now: number): Outcome {
    return this.run(event(callRotate, now));
  }

  /** An application message to all members. */
  send(now: number, kind: number, body: Bytes): Outcome {
    return this.run(event(callSend, now).u8(kind).raw(body));
  }

  /** Epoch authenticator and group id, for the safety code; null if not a member. */
  secrets(): { authenticator: Bytes; groupId: Bytes } | null {
    const r = new Reader(this.call(new Writer(callSecrets).bytes()));
    if (r.u8() !== 0) return null;
    const authenticator = r.data();
    const groupId = r.data();
    return groupId.length > 0 ? { authenticator, groupId } : null;
  }

  private run(w: Writer): Outcome {
    const result = this.call(w.bytes());
    const r = new Reader(result);
    const refused = refusalOf(r.u8());
    if (refused === "malformed") throw new RangeError("event");
    const next = r.f64();
    const actions = readActions(r);
    result.fill(0); // there may have been a key in it
    return { refused, next, actions };
  }
}

function refusalOf(status: number): Refusal | null {
  return status === 0 ? null : (refusals[status - 1] ?? "failed");
}

function event(kind: number, now: number): Writer {
  return new Writer(kind).f64(now);
}

function position(w: Writer, at: Position | null): Writer {
  return at ? w.flag(true).raw(at.gi).u64(at.slot) : w.flag(false);
}

function readActions(r: Reader): Actions {
  return {
    send: r.list(() => r.data()),
    sign: r.list(() => ({ id: r.u32(), message: r.data() })),
    stop: r.flag(),
    keys: r.list(() => ({
      epoch: r.u64(),
      base: r.take(16),
      leaf: r.u8(),
      members: new Map(r.list((): [number, string] => [r.u8(), toBase64url(r.take(16))])),
    })),
    sendEpoch: r.list(() => r.u64()),
    dropped: r.list(() => ({ leaf: r.u8(), epoch: r.u64() })),
    forget: r.list(() => r.u64()),
    messages: r.list(() => ({ connId: toBase64url(r.take(16)), leaf: r.u8(), epoch: r.u64(), kind: r.u8(), body: r.data() })),
    state: r.flag() ? readState(r) : null,
    knocks: r.flag() ? r.list(() => ({ connId: toBase64url(r.take(16)), key: r.take(32), name: r.text() })) : null,
    notices: r.list(() => ({ code: r.text() as NoticeCode, connId: toBase64url(r.take(16)), name: r.text() })),
    link: r.flag() ? { gen: r.u16(), secret: r.take(32) } : null,
  };
}

function readState(r: Reader): GroupState {
  return {
    state: r.text() as MembershipState,
    epoch: r.u64(),
    isHost: r.flag(),
    locked: r.flag(),
    knock: r.flag(),
    members: r.list(() => ({ connId: toBase64url(r.take(16)), leaf: r.u8(), host: r.flag(), key: r.take(32), name: r.text() })),
  };
}
