// The messages between the page and the end-to-end encryption worker, and the
// options of its transforms. Everything binary inside a JSON-like field is
// base64url without padding, unless it says otherwise.
//
// "init", "ready" and "link" carry the link secret, "link" and "evict" the host
// token: the page puts them into the address and into signaling. No other
// message, in either direction, carries a secret, a key or the plaintext of a
// frame; keys of files stay in the worker.
//
// Order of one session:
//
//   page                                   worker
//   init ------------------------------->
//        <------------------------------- ready
//   profile (name, kind of identity) --->
//        <------------------------------- identity
//   connect (nonce of the service) ----->
//        <------------------------------- signed
//   welcome ---------------------------->
//        <------------------------------- membership, send; then any order
//   peer_joined, peer_left, peers, group,
//   stale, envelope, slots, what the person does ->
//        <------------------------------- send, membership, knocks, app, notice, peer_state, stats, error
//   resumed (over another connection) -->
//   reset (the participation is over) -->
//        <------------------------------- ready (with a fresh connId)
//   profile, connect ...
//
// Transforms may be attached at any time after the worker was created: until
// there are keys, frames are dropped.

/** What a track shows. The order is the SFrame context: mic 0, camera 1, … */
export type Source = "mic" | "camera" | "screen" | "screen_audio";

/** Which track the service put into which receiving m-line. */
export interface SlotInfo {
  mid: string;
  connId: string;
  source: Source;
}

/** Options of `new RTCRtpScriptTransform(worker, options)`. */
export type TransformOptions =
  | { side: "send"; source: Source }
  | { side: "receive"; mid: string };

/** Where the service says the room's group stands: "group" of its welcome and messages. */
export interface GroupPosition {
  gi: string;
  slot: number;
}

/** chat: text of at most 4,000 characters. id: at most 64 characters, chosen by the sender. */
export interface Chat {
  id: string;
  text: string;
}

/** emoji: at most 32 bytes. */
export interface Reaction {
  emoji: string;
}

export interface Hand {
  raised: boolean;
}

/** A file that its sender has put on the service, sealed, at path. size is the plaintext's, in bytes. */
export interface SharedFile {
  id: string;
  name: string;
  path: string;
  size: number;
}

/** What participants tell each other. The own messages do not come back. */
export type AppMessage =
  | { kind: "chat"; body: Chat }
  | { kind: "reaction"; body: Reaction }
  | { kind: "hand"; body: Hand }
  /** To send: of a file that was sealed ("file_sealed") and uploaded. */
  | { kind: "file"; body: SharedFile };

export type ToWorker =
  /**
   * First message, once. secret null: make a new one (a new room). gen: of the
   * link, from "ready" or "link" of before a reload; 0 if not known. host: location.host.
   */
  | { type: "init"; secret: string | null; gen: number; host: string }
  /** The own name, as cleanName makes it; "" for none. throwaway: an identity that this tab forgets. Before "welcome"; later it counts after the next "reset". */
  | { type: "profile"; name: string; throwaway: boolean }
  /** The service's nonce from "hello"; answered by "signed". */
  | { type: "connect"; nonce: string }
  /** Admitted: who else is connected (connIds), and the group's position; null: there is none yet. */
  | { type: "welcome"; peers: string[]; group: GroupPosition | null }
  /** The participation goes on over another connection. lost: the service was restarted, its list may be incomplete. */
  | { type: "resumed"; peers: string[]; group: GroupPosition | null; lost: boolean }
  | { type: "peer_joined"; connId: string }
  | { type: "peer_left"; connId: string }
  /** The whole list of the others, as in the signaling message of this name. */
  | { type: "peers"; peers: string[] }
  /** The signaling messages of these names. */
  | { type: "group"; group: GroupPosition | null }
  | { type: "stale"; group: GroupPosition | null }
  /** A binary message as received: u64 seq || envelope. Transfer the buffer. */
  | { type: "envelope"; data: ArrayBuffer }
  /** The whole list, as in the signaling message of this name. */
  | { type: "slots"; slots: SlotInfo[] }
  /** The participation is over: forget the room, take a fresh connId. */
  | { type: "reset" }
  // What the person does.
  /** Answers to a knock. */
  | { type: "admit"; connId: string }
  | { type: "refuse"; connId: string }
  /** The host's: kick is answered by "evict", rotate (and kick) by "link". */
  | { type: "kick"; connId: string }
  | { type: "policy"; locked: boolean; knock: boolean }
  | { type: "rotate" }
  | ({ type: "app" } & AppMessage)
  /** Tell the others which frames were sent (in groups of at most 16), from now on or no more. At any time; off until then. */
  | { type: "sign_media"; on: boolean }
  /** Asks for the safety codes; answered by "codes". */
  | { type: "codes" }
  /** The person has compared the code with the owner of this fingerprint, or takes it back. */
  | { type: "verify"; fingerprint: string; verified: boolean }
  /** The person knows that the room has another host ("host_changed"), and is not to be told again. */
  | { type: "accept_host" }
  /** Seal a file of at most 64 MiB; "file_progress" tells how far it is, "file_sealed" ends it. id: as in SharedFile. */
  | { type: "file_seal"; id: string; file: Blob }
  /** Open what was downloaded from the path of a SharedFile; "file_opened" ends it. */
  | { type: "file_open"; connId: string; id: string; file: Blob }
  | TestConfig;

/**
 * How the frames of a person fare. mismatch: they do not open with the group's
 * keys. Of those who sign their media also: unverified: their word is missing for
 * frames that were shown; forged: a frame was shown that they did not send. That
 * stays, and nothing of them passes any more.
 */
export type PeerState = "waiting" | "encrypted" | "mismatch" | "unverified" | "forged";

/**
 * connecting: no "welcome" yet; waiting: asks to be let in; member; removed: by
 * the host or by the own identity elsewhere (final until "reset"); out_of_sync:
 * does not follow the group any more, sends nothing, asks to be let in again.
 */
export type MembershipState = "connecting" | "waiting" | "member" | "removed" | "out_of_sync";

/**
 * What this device knows of a key: never seen; seen; its owner was verified;
 * name_conflict: the name is one that another key had here.
 */
export type Known = "new" | "known" | "verified" | "name_conflict";

export interface GroupMember {
  connId: string;
  /** "" if the person has none. */
  name: string;
  host: boolean;
  self: boolean;
  /** 16 hexadecimal digits of SHA-256 of the identity key. */
  fingerprint: string;
  known: Known;
}

export interface WaitingPerson {
  connId: string;
  name: string;
  fingerprint: string;
  known: Known;
}

export type NoticeCode =
  | "invalid_commit" // connId made a change that everybody refused
  | "joined"
  | "left"
  | "replaced" // a member came back with the same key; connId is the new one
  | "removed" // this client was removed
  | "duplicate_identity" // the own identity entered from elsewhere
  | "out_of_sync"
  | "rejoined"
  | "stuck" // nobody lets this client in again: only a "reset" helps
  | "link_rotated"
  | "policy_changed"
  | "created" // this client founded the group
  | "host_changed" // the room's host has another key than the one the person knows; told in every stay until "accept_host"
  | "lock_lost"; // and has not locked the room, or lets nobody knock, as this person had as the host

/** 30 digits in groups of five, or 12 emoji: the same code in two forms. words: the names of the emoji. */
export interface Code {
  digits: string;
  emoji: string[];
  words: string[];
}

export type ErrorCode =
  /** A message in the wrong order, or one that does not parse. */
  | "bad_message"
  /** The link secret is not 32 bytes of base64url. */
  | "bad_secret"
  /** This browser lacks a needed primitive (WebAssembly, Ed25519, AES-GCM, HMAC). */
  | "unsupported"
  /** The WebAssembly part did not load, or is not the one of this page. */
  | "wasm_failed"
  /** What the person asked for is not possible now; message is the type of the request. */
  | "not_member"
  | "not_host"
  | "unknown_person"
  /** A counter is used up (2^32 frames): sending has stopped, take a fresh session. */
  | "counter_exhausted"
  | "internal";

export type FileError = "too_large" | "unreadable" | "unknown_file" | "damaged";

export type FromWorker =
  /** After "init" and after each "reset". secret and gen are for the link and sessionStorage. */
  | { type: "ready"; roomId: string; connId: string; linkPub: string; secret: string; gen: number }
  /** After "profile": the own identity. persistent: it is the one that this browser keeps. */
  | { type: "identity"; fingerprint: string; persistent: boolean }
  | { type: "signed"; linkSig: string }
  /** An envelope or bundle to send as one binary message. */
  | { type: "send"; data: ArrayBuffer }
  /** Whole state, whenever any of it changes. members by leaf, the own included. */
  | {
      type: "membership";
      state: MembershipState;
      isHost: boolean;
      locked: boolean;
      knock: boolean;
      epoch: number;
      members: GroupMember[];
    }
  /** The whole list, when it changes. */
  | { type: "knocks"; list: WaitingPerson[] }
  | ({ type: "app"; connId: string } & AppMessage)
  | { type: "notice"; code: NoticeCode; connId?: string; name?: string }
  /**
   * The link was replaced: this is the one to share and to remember, and to
   * register with the service ("alias": link_pub, link_sig, host if given).
   */
  | { type: "link"; roomId: string; secret: string; gen: number; linkPub: string; linkSig: string; hostToken?: string }
  /** After "kick": to send to the service as "evict". */
  | { type: "evict"; connId: string; hostToken: string }
  /** persons: everybody but oneself. null: not a member at the moment. */
  | { type: "codes"; group: Code | null; persons: { connId: string; code: Code }[] }
  /** encrypted (or forged) as soon as the person is a member, waiting when no longer. */
  | { type: "peer_state"; connId: string; state: PeerState }
  /** Bytes of plaintext done. */
  | { type: "file_progress"; id: string; done: number; total: number }
  /** Upload it, then send the app message "file". */
  | { type: "file_sealed"; id: string; file: Blob }
  /** application/octet-stream, to be downloaded and nothing else. */
  | { type: "file_opened"; connId: string; id: string; file: Blob }
  | { type: "file_failed"; id: string; why: FileError }
  /** Every 2 s when something changed: sums since the worker started. */
  | { type: "stats"; counters: Counters }
  | { type: "error"; code: ErrorCode; message: string }
  | TestHashes;

/** Why a frame, an envelope or a message was dropped. */
export type DropReason =
  // both sides
  | "e2ee_unknown_codec" // nothing but Opus, VP8, VP9 and AV1 may pass
  | "e2ee_empty" // no payload (silence): nothing to protect, nothing to show
  | "e2ee_no_key" // sending: not admitted, or stopped
  | "e2ee_seal_fail" // sending: the platform failed to encrypt
  // receiving
  | "e2ee_malformed" // no SFrame frame at all: plaintext, truncated, unknown KID form
  | "e2ee_auth_fail" // the tag does not verify
  | "e2ee_replay" // this CTR was seen, or is older than the window; benign duplicates exist
  | "e2ee_stale" // CTR below the last heartbeat but one
  | "e2ee_order" // RTP timestamp order contradicts CTR order
  | "e2ee_removed" // of a leaf that was removed
  | "e2ee_forged" // of somebody whose frames another member forges
  | "e2ee_hold_full" // more frames waiting for a key or a binding than may be held
  | "e2ee_hold_expired" // held 500 ms and still no key or binding
  | "e2ee_exhausted" // sending: counter used up
  // envelopes and what is in them
  | "envelope_refused" // the group did not accept it
  | "message_refused"; // an application message of the wrong shape

export interface Counters {
  framesProtected: number;
  framesOpened: number;
  keyFrameRequests: number;
  /** Of the opened frames of those who sign: told of, contradicted, not told of in time. */
  framesVerified: number;
  framesForged: number;
  framesUnverified: number;
  dropped: Partial<Record<DropReason, number>>;
}

/** Test bundles only (define SOTTO_TEST_HOOKS); ignored otherwise. Send it before "init". */
export interface TestConfig {
  type: "test_config";
  /** Derive media keys that nobody else has; everything else stays right. */
  wrongMediaKey: boolean;
  /** Post "test_hashes" every 250 ms. */
  hashFrames: boolean;
}

/**
 * Test bundles only: SHA-256 (hex) of frames since the last one, in order.
 * hashes: encoded frames before protection or after opening; sealed: the same
 * frames as they are on the wire.
 */
export interface TestHashes {
  type: "test_hashes";
  side: "send" | "receive";
  source?: Source; // side send
  mid?: string; // side receive
  hashes: string[];
  sealed: string[];
}
