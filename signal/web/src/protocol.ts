// Signaling messages, subprotocol sotto.v1, as the client sees them. What the
// service sends is checked before use: a message that lacks a field or exceeds
// a limit throws ProtocolError; unknown fields and unknown types are allowed,
// so that a newer service can say more than this client understands.

import type { Source } from "../../../e2ee/js/src/messages.ts";

export type { Source };

export const protocolVersion = 1;
export const subprotocol = "sotto.v1";

const maxPeers = 256;
const maxSlots = 128;
export const blobPath = /^\/blob\/[a-z0-9_-]{16,64}$/;
const maxLayers = 8;
const sources: readonly string[] = ["mic", "camera", "screen", "screen_audio"] satisfies Source[];

export interface TrackState {
  source: Source;
  muted: boolean;
}

export interface Peer {
  connId: string;
  leaf: number;
  tracks: TrackState[];
}

export interface Slot {
  mid: string;
  connId: string;
  source: Source;
  /** Why no picture comes; "" while one comes. */
  paused: Pause;
}

/** hidden: this client asked for it; bandwidth: not even the lowest layer fits; publisher: nothing is sent. */
export type Pause = "" | "hidden" | "bandwidth" | "publisher";

/** What anybody wants of an own source: how many of its layers, the lowest first, and in which codec; "" is any. */
export interface Wanted {
  source: Source;
  layers: number;
  codec: string;
}

/** Where the room's encrypted group stands. */
export interface GroupPosition {
  gi: string;
  slot: number;
}

export interface Welcome {
  type: "welcome";
  id: number;
  leaf: number;
  peers: Peer[];
  /** null: nobody has founded the group yet. */
  group: GroupPosition | null;
  /** The resume token; "" if the service gives none. */
  resume: string;
  /** The participation goes on. */
  resumed: boolean;
  /** The service started anew: the list of peers is not complete yet. */
  lost: boolean;
}

export type ServerMessage =
  | { type: "hello"; version: number; nonce: string }
  | Welcome
  | { type: "peers"; peers: Peer[] }
  | { type: "peer_joined"; connId: string; leaf: number }
  | { type: "peer_left"; connId: string; reason: string }
  | { type: "peer_tracks"; connId: string; tracks: TrackState[] }
  | { type: "answer"; id: number; sdp: string }
  | { type: "slots"; slots: Slot[] }
  | { type: "group"; group: GroupPosition | null }
  | { type: "stale"; group: GroupPosition | null }
  | { type: "ticket"; group: GroupPosition; hostTag: string; ticket: string }
  | { type: "done"; id: number }
  | { type: "upload"; id: number; path: string; token: string }
  | { type: "wanted"; tracks: Wanted[] }
  | { type: "error"; id: number | null; code: string; message: string; fatal: boolean }
  | { type: "unknown" };

/** One wish: how many lines of a track this client shows. Field names as on the wire. */
export interface Wish {
  conn_id: string;
  source: Source;
  height: number;
  priority: number;
  paused: boolean;
}

/** Requests carry an id that the reply or the error echoes. */
export type Request =
  | { type: "connect"; room: string; conn_id: string; link_pub: string; link_sig: string; client: string; token?: string; resume?: Resume }
  | { type: "offer"; sdp: string; tracks: { mid: string; source: Source }[]; rejoin?: boolean }
  | { type: "alias"; room: string; link_pub: string; link_sig: string; host?: string }
  | { type: "evict"; conn_id: string; host: string }
  | { type: "upload"; size: number };

export type Notice =
  | { type: "want"; tracks: Wish[] }
  | { type: "mute"; source: Source; muted: boolean }
  | { type: "leave" };

/** What "connect" says about a participation that goes on. Field names as on the wire. */
export interface Resume {
  token: string;
  last_seq: number;
  tracks: TrackState[];
  group?: { gi: string; slot: number; host_tag: string; ticket: string };
}

export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

type Fields = Record<string, unknown>;

/** decode parses one text message of the service. It throws ProtocolError. */
export function decode(text: string): ServerMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ProtocolError("not JSON");
  }
  const m = fields(value, "message");
  switch (string(m, "type")) {
    case "hello":
      return { type: "hello", version: integer(m, "version", 0xffff), nonce: string(m, "nonce") };
    case "welcome":
      return {
        type: "welcome", id: id(m), leaf: leaf(m), peers: list(m, "peers", maxPeers, peer),
        group: m["group"] === undefined ? null : position(fields(m["group"], "group")),
        resume: optionalString(m, "resume"), resumed: m["resumed"] === true, lost: m["lost"] === true,
      };
    case "peers":
      return { type: "peers", peers: list(m, "peers", maxPeers, peer) };
    case "peer_joined":
      return { type: "peer_joined", connId: string(m, "conn_id"), leaf: leaf(m) };
    case "peer_left":
      return { type: "peer_left", connId: string(m, "conn_id"), reason: optionalString(m, "reason") };
    case "peer_tracks":
      return { type: "peer_tracks", connId: string(m, "conn_id"), tracks: tracks(m) };
    case "answer":
      return { type: "answer", id: id(m), sdp: string(m, "sdp") };
    case "slots":
      return { type: "slots", slots: list(m, "slots", maxSlots, slot) };
    case "group":
      return { type: "group", group: position(m) };
    case "stale":
      return { type: "stale", group: position(m) };
    case "ticket": {
      const group = position(m);
      if (!group) throw new ProtocolError("gi is missing");
      return { type: "ticket", group, hostTag: string(m, "host_tag"), ticket: string(m, "ticket") };
    }
    case "done":
      return { type: "done", id: id(m) };
    case "upload":
      return { type: "upload", id: id(m), path: path(m), token: string(m, "token") };
    case "wanted":
      return { type: "wanted", tracks: wanted(m) };
    case "error":
      return {
        type: "error",
        id: m["id"] === undefined ? null : id(m),
        code: string(m, "code"),
        message: optionalString(m, "message"),
        fatal: m["fatal"] === true,
      };
    default:
      return { type: "unknown" };
  }
}

function peer(value: unknown): Peer {
  const m = fields(value, "peer");
  return { connId: string(m, "conn_id"), leaf: leaf(m), tracks: tracks(m) };
}

function position(m: Fields): GroupPosition | null {
  return m["gi"] === undefined ? null : { gi: string(m, "gi"), slot: integer(m, "slot", Number.MAX_SAFE_INTEGER) };
}

/** path is one of this service, for sealed files. */
function path(m: Fields): string {
  const text = string(m, "path");
  if (!blobPath.test(text)) throw new ProtocolError("path is not one of a file");
  return text;
}

function slot(value: unknown): Slot {
  const m = fields(value, "slot");
  return { mid: string(m, "mid"), connId: string(m, "conn_id"), source: source(m), paused: pause(optionalString(m, "paused")) };
}

function pause(word: string): Pause {
  switch (word) {
    case "":
    case "hidden":
    case "bandwidth":
      return word;
    default:
      return "publisher"; // another one is of a newer service
  }
}

/** wanted skips sources that this client does not know. */
function wanted(m: Fields): Wanted[] {
  return list(m, "tracks", 16, (value) => {
    const t = fields(value, "track");
    const name = string(t, "source");
    return isSource(name) ? { source: name, layers: integer(t, "layers", maxLayers), codec: optionalString(t, "codec") } : null;
  }).filter((t) => t !== null);
}

/** tracks skips sources that this client does not know. */
function tracks(m: Fields): TrackState[] {
  if (m["tracks"] === undefined || m["tracks"] === null) return [];
  return list(m, "tracks", 16, (value) => {
    const t = fields(value, "track");
    const name = string(t, "source");
    return isSource(name) ? { source: name, muted: t["muted"] === true } : null;
  }).filter((t) => t !== null);
}

function fields(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ProtocolError(`${what} is not an object`);
  }
  return value as Fields;
}

function string(m: Fields, name: string): string {
  const value = m[name];
  if (typeof value !== "string" || value === "") throw new ProtocolError(`${name} is not a string`);
  return value;
}

function optionalString(m: Fields, name: string): string {
  return m[name] === undefined ? "" : typeof m[name] === "string" ? m[name] : string(m, name);
}

function integer(m: Fields, name: string, max: number): number {
  const value = m[name];
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > max) {
    throw new ProtocolError(`${name} is not an integer of 0 to ${max}`);
  }
  return value;
}

const id = (m: Fields): number => integer(m, "id", 0xffffffff);
const leaf = (m: Fields): number => integer(m, "leaf", 255);

function list<T>(m: Fields, name: string, max: number, element: (value: unknown) => T): T[] {
  const value = m[name] ?? []; // Go encodes an empty list as null
  if (!Array.isArray(value) || value.length > max) {
    throw new ProtocolError(`${name} is not a list of at most ${max}`);
  }
  return value.map(element);
}

function isSource(name: string): name is Source {
  return sources.includes(name);
}

function source(m: Fields): Source {
  const name = string(m, "source");
  if (!isSource(name)) throw new ProtocolError("unknown source");
  return name;
}
