// The messages between the page and the end-to-end encryption worker, and the
// options of its transforms. Everything binary inside a JSON-like field is
// base64url without padding.
//
// Only "init" and "ready" carry the link secret. No other message, in either
// direction, carries a secret, a key or the plaintext of a frame.
//
// Order of one session:
//
//   page                                   worker
//   init ------------------------------->
//        <------------------------------- ready
//   connect (nonce of the service) ----->
//        <------------------------------- signed
//   welcome ---------------------------->
//        <------------------------------- send (announcement), then any order
//   peer_joined, peer_left, envelope,
//   slots ------------------------------>
//        <------------------------------- send, peer_state, stats, error
//   resumed (over another connection) -->
//        <------------------------------- send (the announcement again)
//   reset (the participation is over) -->
//        <------------------------------- ready (with a fresh connId)
//   connect ...
//
// Transforms may be attached at any time after the worker was created: until
// the keys are there, frames are dropped.

/** What a track shows. The order is the SFrame context: mic 0, camera 1, … */
export type Source = "mic" | "camera" | "screen" | "screen_audio";

/** Who is in the room, as signaling says. leaf is 0..255. */
export interface PeerInfo {
  connId: string;
  leaf: number;
}

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

export type ToWorker =
  /** First message, once. secret null: make a new one (a new room). host: location.host. */
  | { type: "init"; secret: string | null; host: string }
  /** The service's nonce from "hello"; answered by "signed". */
  | { type: "connect"; nonce: string }
  /** The own name, as cleanName makes it; "" for none. Before "welcome" or later; told to everybody in the room, inside the encryption. */
  | { type: "profile"; name: string }
  /** Admitted: own leaf and who is there. */
  | { type: "welcome"; leaf: number; peers: PeerInfo[] }
  /** A newcomer, or one who is known with this leaf and came back: both are told the own key. */
  | { type: "peer_joined"; connId: string; leaf: number }
  | { type: "peer_left"; connId: string }
  /** A binary message as received: u64 seq || envelope. Transfer the buffer. */
  | { type: "envelope"; data: ArrayBuffer }
  /**
   * The participation goes on over another connection: nothing is reset, and the
   * own key is announced again, because envelopes may have been lost.
   */
  | { type: "resumed" }
  /** The whole list, as in the signaling message of this name. */
  | { type: "slots"; slots: SlotInfo[] }
  /** The participation is over: forget the room, take a fresh connId. */
  | { type: "reset" }
  | TestConfig;

/**
 * waiting: no key from this person yet; encrypted: key known, frames open;
 * mismatch: frames of this person do not open with the announced key, or the
 * announcement contradicts what signaling said.
 */
export type PeerState = "waiting" | "encrypted" | "mismatch";

export type ErrorCode =
  /** A message in the wrong order, or one that does not parse. */
  | "bad_message"
  /** The link secret is not 32 bytes of base64url. */
  | "bad_secret"
  /** This browser lacks a needed primitive (Ed25519, AES-GCM, HMAC). */
  | "unsupported"
  /** A counter is used up (2^32 frames): sending has stopped, take a fresh session. */
  | "counter_exhausted"
  | "internal";

export type FromWorker =
  /** After "init" and after each "reset". secret is for the link and sessionStorage. */
  | { type: "ready"; roomId: string; connId: string; linkPub: string; secret: string }
  | { type: "signed"; linkSig: string }
  /** An envelope to send as one binary message. */
  | { type: "send"; data: ArrayBuffer }
  | { type: "peer_state"; connId: string; state: PeerState }
  /** What this person wants to be called. */
  | { type: "profile"; connId: string; name: string }
  /** Every 2 s when something changed: sums since the worker started. */
  | { type: "stats"; counters: Counters }
  | { type: "error"; code: ErrorCode; message: string }
  | TestHashes;

/** Why a frame or an envelope was dropped. */
export type DropReason =
  // both sides
  | "e2ee_unknown_codec" // nothing but Opus, VP8, VP9 and AV1 may pass
  | "e2ee_empty" // no payload (silence): nothing to protect, nothing to show
  | "e2ee_no_key" // sending: not admitted yet
  | "e2ee_seal_fail" // sending: the platform failed to encrypt
  // receiving
  | "e2ee_malformed" // no SFrame frame at all: plaintext, truncated, unknown KID form
  | "e2ee_auth_fail" // the tag does not verify
  | "e2ee_replay" // this CTR was seen, or is older than the window; benign duplicates exist
  | "e2ee_stale" // CTR below the last heartbeat but one
  | "e2ee_order" // RTP timestamp order contradicts CTR order
  | "e2ee_removed" // of a leaf that was removed
  | "e2ee_hold_full" // more frames waiting for a key or a binding than may be held
  | "e2ee_hold_expired" // held 500 ms and still no key or binding
  | "e2ee_exhausted" // sending: counter used up
  // envelopes
  | "envelope_malformed"
  | "envelope_unknown_sender"
  | "envelope_auth_fail"
  | "envelope_replay"
  | "envelope_refused" // opened, but the content is not acceptable
  | "message_refused"; // an application message of the wrong shape

export interface Counters {
  framesProtected: number;
  framesOpened: number;
  keyFrameRequests: number;
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
