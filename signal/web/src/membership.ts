// The encrypted group as the person sees it: who is in it, who waits, what was
// said. It lives as long as the call; each session lends it its worker and its
// signaling.

import type {
  AppMessage, Code, FromWorker, GroupMember, MembershipState, NoticeCode, SharedFile, ToWorker, WaitingPerson,
} from "../../../e2ee/js/src/messages.ts";
import { keepSigning, recallSigning } from "./sign_media.ts";

/** What a session lends. */
export interface MembershipPort {
  post(message: ToWorker): void;
  /** evict ends somebody's connection at the service. */
  evict(connId: string, host: string): void;
  /** alias registers a new link's name for the room; false: the service refuses. */
  alias(link: Extract<FromWorker, { type: "link" }>): Promise<boolean>;
  /** upload puts a sealed file on the service and gives its path. It throws. */
  upload(file: Blob): Promise<string>;
  /** download fetches what is at the path, for a file of that size. It throws. */
  download(path: string, size: number): Promise<Blob>;
}

export interface MembershipEvents {
  /** The room has a new link. */
  link(room: { roomId: string; secret: string; gen: number }): void;
  /** This participant is out, for good. */
  removed(code: "removed" | "duplicate_identity"): void;
  /** The group does not take this participation back: begin another. */
  stuck(): void;
}

/** Where a file stands for this person. */
export type FileState = "offered" | "working" | "done" | "failed";

/** A line of the conversation. */
export interface Line {
  id: string;
  connId: string;
  /** Of who said it, at that time; "" is oneself. */
  name: string;
  at: Date;
  text: string;
  file: { name: string; size: number; state: FileState; done: number; why?: string } | null;
}

export interface Reaction {
  connId: string;
  emoji: string;
}

export interface Notice {
  code: NoticeCode;
  name: string;
}

export interface Codes {
  group: Code;
  persons: { connId: string; code: Code }[];
}

export const reactions: readonly string[] = ["👍", "❤️", "😂", "😮", "👏", "🎉"];
export const maxText = 4000;
const maxLines = 1000;
const maxFileName = 255;

// What the others refuse, and so the worker: control characters but line feed
// and tab, halves of characters; in the name of a file also what is not seen or
// turns text around, and what parts of a path are.
const unsendable = /(?![\n\t])[\p{Cc}\p{Cs}]/gu;
const unfitForName = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}/\\]/gu;

/** The most that the service takes, less what sealing adds. */
export const maxFileSize = 64 * 1024 * 1024;

export class Membership {
  state: MembershipState = "connecting";
  isHost = false;
  locked = false;
  knock = false;
  epoch = 0;
  members: readonly GroupMember[] = [];
  knocks: readonly WaitingPerson[] = [];
  readonly hands = new Set<string>();
  handRaised = false;
  /** The service did not take the name of the newest link: nobody can come in by it. */
  linkRefused = false;
  /** The others can notice if somebody forges what this person sends. */
  signMedia = recallSigning();
  lines: Line[] = [];
  /** As of the last request for them; null when the group has changed since. */
  codes: Codes | null = null;

  private port: MembershipPort | null = null;
  private readonly listeners = new Set<() => void>();
  private readonly reactionListeners = new Set<(r: Reaction) => void>();
  private readonly noticeListeners = new Set<(n: Notice) => void>();
  private readonly files = new Map<string, SharedFile>(); // by line id
  private readonly uploads = new Map<string, (file: Blob) => void>(); // by file id

  private readonly events: MembershipEvents;

  constructor(events: MembershipEvents) {
    this.events = events;
  }

  /** attach goes on with a new session. */
  attach(port: MembershipPort): void {
    this.port = port;
    this.state = "connecting";
    this.members = [];
    this.knocks = [];
    this.hands.clear();
    this.codes = null;
    if (this.signMedia) port.post({ type: "sign_media", on: true });
    this.changed();
  }

  detach(port: MembershipPort): void {
    if (this.port === port) this.port = null;
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  onReaction(listener: (r: Reaction) => void): () => void {
    this.reactionListeners.add(listener);
    return () => this.reactionListeners.delete(listener);
  }

  onNotice(listener: (n: Notice) => void): () => void {
    this.noticeListeners.add(listener);
    return () => this.noticeListeners.delete(listener);
  }

  member(connId: string): GroupMember | undefined {
    return this.members.find((m) => m.connId === connId);
  }

  // What the person does.

  admit(connId: string): void {
    this.port?.post({ type: "admit", connId });
  }

  refuse(connId: string): void {
    this.port?.post({ type: "refuse", connId });
  }

  kick(connId: string): void {
    this.port?.post({ type: "kick", connId });
  }

  setPolicy(locked: boolean, knock: boolean): void {
    this.port?.post({ type: "policy", locked, knock });
  }

  rotate(): void {
    this.port?.post({ type: "rotate" });
  }

  setSignMedia(on: boolean): void {
    this.signMedia = on;
    keepSigning(on);
    this.port?.post({ type: "sign_media", on });
    this.changed();
  }

  verify(fingerprint: string, verified: boolean): void {
    this.port?.post({ type: "verify", fingerprint, verified });
  }

  /** acceptHost: the person knows that the room has another host than before. */
  acceptHost(): void {
    this.port?.post({ type: "accept_host" });
  }

  askCodes(): void {
    this.port?.post({ type: "codes" });
  }

  say(typed: string): void {
    const text = typed.replace(/\r\n?|[\v\f]/g, "\n").slice(0, maxText).replace(unsendable, "");
    if (text === "") return;
    const body = { id: crypto.randomUUID(), text };
    this.tell({ kind: "chat", body });
    this.append({ id: body.id, connId: "", name: "", at: new Date(), text: body.text, file: null });
  }

  react(emoji: string): void {
    this.tell({ kind: "reaction", body: { emoji } });
    for (const listener of this.reactionListeners) listener({ connId: "", emoji });
  }

  raiseHand(raised: boolean): void {
    this.handRaised = raised;
    this.tell({ kind: "hand", body: { raised } });
    this.changed();
  }

  /** sendFile seals a file, puts it on the service and tells everybody its key. */
  async sendFile(file: File): Promise<void> {
    const id = crypto.randomUUID();
    const name = file.name.slice(0, maxFileName).replace(unfitForName, "") || "file";
    const line: Line = { id, connId: "", name: "", at: new Date(), text: "", file: { name, size: file.size, state: "working", done: 0 } };
    this.append(line);
    const { port } = this;
    if (!port || file.size > maxFileSize) {
      this.mark(line, "failed");
      return;
    }
    try {
      const sealed = await new Promise<Blob>((resolve) => {
        this.uploads.set(id, resolve);
        port.post({ type: "file_seal", id, file });
      });
      const path = await port.upload(sealed);
      this.tell({ kind: "file", body: { id, name, path, size: file.size } });
      this.mark(line, "done");
    } catch (error) {
      this.fail(line, error);
    }
  }

  /** openFile fetches a file that somebody sent and saves it on this device. */
  async openFile(line: Line): Promise<void> {
    const file = this.files.get(line.id);
    const { port } = this;
    if (!file || !port || line.file?.state === "working") return;
    this.mark(line, "working");
    try {
      port.post({ type: "file_open", connId: line.connId, id: file.id, file: await port.download(file.path, file.size) });
    } catch (error) {
      this.fail(line, error);
    }
  }

  // What the worker says.

  /** take returns false for what does not concern it. */
  take(m: FromWorker): boolean {
    switch (m.type) {
      case "membership":
        this.update(m);
        break;
      case "knocks":
        this.knocks = m.list;
        break;
      case "app":
        this.hear(m.connId, m);
        break;
      case "notice":
        if (m.code === "removed" || m.code === "duplicate_identity") this.events.removed(m.code);
        if (m.code === "stuck") this.events.stuck();
        for (const listener of this.noticeListeners) listener({ code: m.code, name: m.name ?? "" });
        break;
      case "link":
        void this.alias(m);
        this.events.link(m);
        break;
      case "evict":
        this.port?.evict(m.connId, m.hostToken);
        break;
      case "codes":
        this.codes = m.group ? { group: m.group, persons: m.persons } : null;
        break;
      case "file_progress":
        this.progress(m.id, m.done);
        break;
      case "file_sealed":
        this.uploads.get(m.id)?.(m.file);
        this.uploads.delete(m.id);
        break;
      case "file_opened":
        this.save(m.connId, m.id, m.file);
        break;
      case "file_failed": {
        const line = this.lines.find((l) => l.file && this.fileId(l) === m.id);
        if (line) this.fail(line, { code: m.why });
        break;
      }
      default:
        return false;
    }
    this.changed();
    return true;
  }

  private async alias(link: Extract<FromWorker, { type: "link" }>): Promise<void> {
    this.linkRefused = (await this.port?.alias(link)) === false;
    this.changed();
  }

  private update(m: Extract<FromWorker, { type: "membership" }>): void {
    const joined = m.state === "member" && this.state !== "member";
    const grown = m.members.some((a) => !this.member(a.connId));
    if (m.epoch !== this.epoch) this.codes = null;
    this.state = m.state;
    this.isHost = m.isHost;
    this.locked = m.locked;
    this.knock = m.knock;
    this.epoch = m.epoch;
    this.members = m.members;
    for (const connId of this.hands) if (!this.member(connId)) this.hands.delete(connId);
    // Newcomers know nothing of before.
    if (this.handRaised && (joined || grown)) this.tell({ kind: "hand", body: { raised: true } });
  }

  private hear(connId: string, m: AppMessage): void {
    const name = this.member(connId)?.name ?? "";
    const at = new Date();
    switch (m.kind) {
      case "chat":
        this.append({ id: `${connId} ${m.body.id}`, connId, name, at, text: m.body.text, file: null });
        break;
      case "reaction":
        for (const listener of this.reactionListeners) listener({ connId, emoji: m.body.emoji });
        break;
      case "hand":
        if (m.body.raised) this.hands.add(connId);
        else this.hands.delete(connId);
        break;
      case "file": {
        const id = `${connId} ${m.body.id}`;
        if (this.lines.some((l) => l.id === id)) break; // the first of an id stays, as in the worker
        this.files.set(id, m.body);
        this.append({ id, connId, name, at, text: "", file: { name: m.body.name, size: m.body.size, state: "offered", done: 0 } });
        break;
      }
    }
  }

  private fileId(line: Line): string {
    return this.files.get(line.id)?.id ?? line.id;
  }

  private progress(id: string, done: number): void {
    for (const line of this.lines) if (line.file?.state === "working" && this.fileId(line) === id) line.file.done = done;
  }

  private save(connId: string, id: string, file: Blob): void {
    const line = this.lines.find((l) => l.id === `${connId} ${id}`);
    if (!line?.file) return;
    const url = URL.createObjectURL(file);
    const anchor = document.createElement("a");
    anchor.href = url;
    anchor.download = line.file.name;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    line.file.state = "done";
  }

  /** fail keeps the code of why, if the error has one. */
  private fail(line: Line, error: unknown): void {
    if (line.file) line.file.why = error instanceof Object && "code" in error ? String(error.code) : "";
    this.mark(line, "failed");
  }

  private mark(line: Line, state: FileState): void {
    if (line.file) line.file.state = state;
    this.changed();
  }

  private tell(message: AppMessage): void {
    this.port?.post({ type: "app", ...message });
  }

  private append(line: Line): void {
    if (this.lines.some((l) => l.id === line.id)) return;
    this.lines.push(line);
    const over = this.lines.length - maxLines;
    for (const { id } of over > 0 ? this.lines.splice(0, over) : []) this.files.delete(id);
    this.changed();
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}
