// What can go wrong, in words for the person: a sentence or two and one action.

export type Action = "retry" | "rejoin" | "home" | "continue" | "none";

export interface Problem {
  code: string;
  title: string;
  text: string;
  action: Action;
}

type Words = Omit<Problem, "code">;

const words = {
  permission_denied_camera: {
    title: "The camera is blocked",
    text: "Allow the camera for this page in the address bar, then try again. You can also join without it.",
    action: "retry",
  },
  permission_denied_mic: {
    title: "The microphone is blocked",
    text: "Allow the microphone for this page in the address bar, then try again. You can also join without it.",
    action: "retry",
  },
  device_missing_camera: { title: "No camera found", text: "Connect one and try again, or join without it.", action: "retry" },
  device_missing_mic: { title: "No microphone found", text: "Connect one and try again, or join without it.", action: "retry" },
  device_busy_camera: { title: "The camera is in use", text: "Another program holds it. Close that program and try again.", action: "retry" },
  device_busy_mic: { title: "The microphone is in use", text: "Another program holds it. Close that program and try again.", action: "retry" },
  insecure_context: {
    title: "This page is not secure",
    text: "Cameras and encryption work on HTTPS pages only. Open the link with https:// in front.",
    action: "none",
  },
  browser_no_e2ee: {
    title: "This browser cannot encrypt calls",
    text: "It lacks encoded transforms. A current Firefox, Chrome, Edge or Safari has them.",
    action: "none",
  },
  link_incomplete: {
    title: "This link is not complete",
    text: "The part after # is missing or damaged, and it is the key to the room. Ask for the link again and copy all of it.",
    action: "home",
  },
  link_mismatch: {
    title: "The key does not belong to this room",
    text: "The two parts of the link do not fit together. Ask for the link again.",
    action: "home",
  },
  not_admitted: { title: "The room did not accept this link", text: "Ask for the link again.", action: "home" },
  bad_signature: { title: "The room did not accept this link", text: "The proof of the link was refused. Ask for the link again.", action: "home" },
  token_invalid: { title: "This service asks for an invitation", text: "Come in through the page that gave you the link, or ask its operator.", action: "home" },
  token_expired: { title: "The invitation has expired", text: "Ask for a new one.", action: "home" },
  token_not_yet: { title: "It is too early", text: "The invitation is not valid yet. Try again later.", action: "retry" },
  token_wrong_room: { title: "The invitation is for another room", text: "Ask for one for this room.", action: "home" },
  room_full: { title: "The room is full", text: "Try again when somebody has left.", action: "rejoin" },
  waiting_to_be_let_in: { title: "Waiting to be let in", text: "Somebody in the room must open the door for you.", action: "none" },
  invalid_commit: { title: "A change was refused", text: "Somebody in the call tried a change of the group that is against its rules.", action: "none" },
  out_of_sync: { title: "You fell out of the encrypted group", text: "Nothing is sent until you are back in. This happens by itself.", action: "none" },
  media_forged: { title: "Somebody in the room forges sound or pictures", text: "What came under another person's name is not what that person sent. It is hidden. Do not trust this call.", action: "none" },
  host_changed: { title: "The host has another key than last time", text: "A new device explains it, and so does an impostor. Compare the safety code with the people you know.", action: "continue" },
  lock_lost: { title: "This room is open again", text: "The group in which you had locked the door or let newcomers knock ended with its last member, and somebody else founded the next one. Whoever has the link can come in.", action: "continue" },
  duplicate_identity: { title: "You joined from somewhere else", text: "Another tab or device with the same identity has taken your place in this call.", action: "home" },
  link_refused: { title: "The new link does not work", text: "The service did not take it, and the old one is no longer good: nobody can come in. The host can replace the link once more.", action: "none" },
  link_replaced: { title: "This link was replaced", text: "The host has made a new link for this room. Ask for it.", action: "home" },
  kicked: { title: "You were removed from the room", text: "Somebody with the right to do so ended your part of this call.", action: "home" },
  version: { title: "This page is out of date", text: "The service speaks a newer version. Reload the page.", action: "retry" },
  page_broken: { title: "The encryption part did not load", text: "Reload the page. If that does not help, the service is not installed completely.", action: "retry" },
  bad_offer: { title: "The service cannot talk to this browser", text: "It refused the description of this browser's media. Try a current version.", action: "rejoin" },
  server_unreachable: { title: "The service does not answer", text: "Check your connection. Sotto keeps trying.", action: "none" },
  connection_lost: { title: "The connection was lost", text: "Coming back by itself.", action: "none" },
  signaling_lost: { title: "The connection was lost", text: "Sound and picture go on; who comes or goes is not seen. Coming back by itself.", action: "none" },
  media_lost: { title: "Sound and picture were lost", text: "The path to the service broke. Coming back by itself.", action: "none" },
  rate_limited: { title: "Too many requests", text: "The service asked this page to slow down. Coming back by itself.", action: "none" },
  busy: { title: "The service is busy", text: "It takes no new calls for the moment. Sotto keeps trying.", action: "none" },
  shutdown: { title: "The service restarts", text: "Coming back by itself.", action: "none" },
  internal: { title: "Something went wrong", text: "The service had a fault. Coming back by itself.", action: "none" },
  muted_speaking: { title: "You are muted", text: "Nobody hears what you say.", action: "none" },
  screen_failed: { title: "The screen cannot be shared", text: "The system or the browser does not allow it. Allow screen recording for this browser, then try again.", action: "none" },
  autoplay: { title: "Sound is off", text: "The browser waits for a click before it plays sound.", action: "continue" },
} satisfies Record<string, Words>;

export type ProblemCode = keyof typeof words;

export function problem(code: ProblemCode): Problem {
  return { code, ...words[code] };
}

function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(words, code);
}

// After these, coming back by itself would meet the same refusal.
const final: readonly string[] = [
  "token_invalid", "token_expired", "token_not_yet", "token_wrong_room", "not_admitted", "bad_signature", "room_full", "kicked", "link_replaced", "duplicate_identity", "version", "page_broken", "bad_offer", "link_mismatch", "link_incomplete", "browser_no_e2ee",
];

export interface Failure {
  problem: Problem;
  /** True when trying again by itself makes sense. */
  retry: boolean;
}

/** failureOf maps an error code of the service. Codes this client does not know are faults to retry. */
export function failureOf(code: string): Failure {
  switch (code) {
    case "media_closed":
    case "media_timeout":
    case "unknown_peer":
      return { problem: problem("media_lost"), retry: true };
    case "duplicate_conn":
    case "connect_timeout":
      return { problem: problem("connection_lost"), retry: true };
    case "limit":
      return { problem: problem("room_full"), retry: false };
    default:
      return { problem: problem(isProblemCode(code) ? code : "internal"), retry: !final.includes(code) };
  }
}

/** deviceProblem names what getUserMedia threw. */
export function deviceProblem(kind: "camera" | "mic", errorName: string): Problem {
  switch (errorName) {
    case "NotAllowedError":
    case "SecurityError":
      return problem(`permission_denied_${kind}`);
    case "NotFoundError":
    case "OverconstrainedError":
      return problem(`device_missing_${kind}`);
    default: // NotReadableError, AbortError
      return problem(`device_busy_${kind}`);
  }
}
