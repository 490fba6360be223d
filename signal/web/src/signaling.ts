// The signaling of one participation: text messages in both directions,
// envelopes of the encryption as binary, requests matched with their replies.
// It outlives its WebSocket: after a break open() makes another one, and what
// has no reply yet is sent again.

import { decode, subprotocol, type Notice, type Request, type ServerMessage } from "./protocol.ts";

/** A request that the service answered with an error, or that got no answer. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

export interface SignalingEvents {
  /** Everything except replies to requests. */
  message(message: ServerMessage): void;
  envelope(data: ArrayBuffer): void;
  /** The socket is gone, and nobody here asked for it. opened: it had been there. */
  closed(opened: boolean): void;
}

type Reply = Extract<ServerMessage, { type: "welcome" | "answer" | "done" | "upload" }>;

interface Pending {
  message: Request & { id: number };
  resolve: (reply: Reply) => void;
  reject: (error: RequestError) => void;
  timer: ReturnType<typeof setTimeout> | undefined;
}

// Longer than the service takes to give up on its media node.
const replyTimeoutMs = 10_000;

// A code of one's own says nothing about leaving: the participation goes on.
const closeGoesOn = 4000;

export class Signaling {
  private socket: WebSocket | null = null;
  private readonly pending = new Map<number, Pending>();
  private nextId = 1;
  private admitted = false;

  private readonly events: SignalingEvents;

  constructor(events: SignalingEvents) {
    this.events = events;
  }

  /** open makes a new socket; one that is there is dropped. */
  open(): void {
    this.drop();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws`, subprotocol);
    let opened = false;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => (opened = true);
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
      if (socket === this.socket) this.receive(event.data);
    };
    socket.onclose = () => {
      if (socket !== this.socket) return;
      this.drop();
      this.events.closed(opened);
    };
    this.socket = socket;
  }

  /** admit is for after "welcome": from here on anything may be sent, and what waits for a reply is. */
  admit(): void {
    this.admitted = true;
    for (const pending of this.pending.values()) this.ask(pending);
  }

  /** ready says whether what is sent now goes out. */
  get ready(): boolean {
    return this.admitted && this.socket?.readyState === WebSocket.OPEN;
  }

  /**
   * request resolves with the reply or throws RequestError. "connect" and
   * "alias" belong to their socket; any other request waits for the next one if
   * there is none.
   */
  request(request: Request): Promise<Reply> {
    const id = this.nextId++;
    return new Promise<Reply>((resolve, reject) => {
      const pending: Pending = { message: { ...request, id }, resolve, reject, timer: undefined };
      this.pending.set(id, pending);
      if (this.admitted || request.type === "connect") this.ask(pending);
    });
  }

  /** send does nothing while there is no connection. */
  send(notice: Notice): void {
    if (this.ready) this.write(JSON.stringify(notice));
  }

  sendEnvelope(data: ArrayBuffer): void {
    if (this.ready) this.write(data);
  }

  /** drop gives the socket up, if there is one; the participation goes on. */
  drop(): void {
    const { socket } = this;
    this.socket = null;
    this.admitted = false;
    for (const [id, pending] of this.pending) {
      clearTimeout(pending.timer);
      if (pending.message.type === "connect" || pending.message.type === "alias") this.settle(id)?.reject(new RequestError("connection_lost"));
    }
    socket?.close(closeGoesOn);
  }

  /** close ends the participation. */
  close(): void {
    const { socket } = this;
    this.socket = null;
    for (const id of [...this.pending.keys()]) this.settle(id)?.reject(new RequestError("connection_lost"));
    socket?.close(1000);
  }

  private ask(pending: Pending): void {
    clearTimeout(pending.timer);
    const { id } = pending.message;
    pending.timer = setTimeout(() => this.settle(id)?.reject(new RequestError("media_timeout")), replyTimeoutMs);
    this.write(JSON.stringify(pending.message));
  }

  private write(data: string | ArrayBuffer): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  private receive(data: string | ArrayBuffer): void {
    if (typeof data !== "string") {
      this.events.envelope(data);
      return;
    }
    let message: ServerMessage;
    try {
      message = decode(data);
    } catch {
      // A service that does not keep to the protocol: another connection may.
      this.drop();
      this.events.closed(true);
      return;
    }
    if (message.type === "welcome" || message.type === "answer" || message.type === "done" || message.type === "upload") {
      this.settle(message.id)?.resolve(message);
      return;
    }
    const failed = message.type === "error" && message.id !== null ? this.settle(message.id) : undefined;
    if (failed && message.type === "error") failed.reject(new RequestError(message.code));
    else this.events.message(message);
  }

  private settle(id: number): Pending | undefined {
    const pending = this.pending.get(id);
    if (pending) {
      clearTimeout(pending.timer);
      this.pending.delete(id);
    }
    return pending;
  }
}
