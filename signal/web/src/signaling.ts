// One WebSocket connection to the service: text messages in both directions,
// envelopes of the encryption as binary, requests matched with their replies.

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
  /** Once, unless close() came first. opened: the connection had been there. */
  closed(opened: boolean): void;
}

type Reply = Extract<ServerMessage, { type: "welcome" | "answer" }>;

interface Pending {
  resolve: (reply: Reply) => void;
  reject: (error: RequestError) => void;
  timer: number;
}

// Longer than the service takes to give up on its media node.
const replyTimeoutMs = 10_000;

export class Signaling {
  private readonly socket: WebSocket;
  private readonly pending = new Map<number, Pending>();
  private nextId = 1;
  private opened = false;
  private done = false;

  private readonly events: SignalingEvents;

  constructor(events: SignalingEvents) {
    this.events = events;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(`${scheme}//${location.host}/ws`, subprotocol);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => (this.opened = true);
    this.socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => this.receive(event.data);
    this.socket.onclose = () => this.end();
  }

  /** request resolves with the reply or throws RequestError. */
  request(request: Request): Promise<Reply> {
    const id = this.nextId++;
    return new Promise<Reply>((resolve, reject) => {
      const timer = setTimeout(() => this.settle(id)?.reject(new RequestError("media_timeout")), replyTimeoutMs);
      this.pending.set(id, { resolve, reject, timer });
      this.write({ ...request, id });
    });
  }

  send(notice: Notice): void {
    this.write(notice);
  }

  sendEnvelope(data: ArrayBuffer): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
  }

  close(): void {
    this.done = true;
    this.rejectAll();
    this.socket.close(1000);
  }

  private write(message: Notice | (Request & { id: number })): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private receive(data: string | ArrayBuffer): void {
    if (this.done) return;
    if (typeof data !== "string") {
      this.events.envelope(data);
      return;
    }
    let message: ServerMessage;
    try {
      message = decode(data);
    } catch {
      // A service that does not keep to the protocol: start over.
      this.socket.close(4000);
      return;
    }
    if (message.type === "welcome" || message.type === "answer") {
      this.settle(message.id)?.resolve(message);
      return;
    }
    if (message.type === "error" && message.id !== null) {
      const pending = this.settle(message.id);
      pending?.reject(new RequestError(message.code));
      if (pending && !message.fatal) return;
    }
    this.events.message(message);
  }

  private settle(id: number): Pending | undefined {
    const pending = this.pending.get(id);
    if (pending) {
      clearTimeout(pending.timer);
      this.pending.delete(id);
    }
    return pending;
  }

  private rejectAll(): void {
    for (const id of [...this.pending.keys()]) this.settle(id)?.reject(new RequestError("connection_lost"));
  }

  private end(): void {
    if (this.done) return;
    this.done = true;
    this.rejectAll();
    this.events.closed(this.opened);
  }
}
