// The page's end of the encryption worker. Keys are made and kept in the
// worker; the page passes messages on and attaches transforms.

import type { FromWorker, ToWorker, TransformOptions } from "../../../e2ee/js/src/messages.ts";

export type Ready = Extract<FromWorker, { type: "ready" }>;

let policy: TrustedTypePolicy | null = null;

/** scriptURL passes the one script URL of this page through Trusted Types, where they exist. */
function scriptURL(): string {
  if (!window.trustedTypes) return SOTTO_WORKER_URL;
  policy ??= window.trustedTypes.createPolicy("sotto", {
    createScriptURL: (url) => {
      if (url !== SOTTO_WORKER_URL) throw new TypeError("not a script of this page");
      return url;
    },
  });
  // lib.dom does not know that Worker takes a TrustedScriptURL.
  return policy.createScriptURL(SOTTO_WORKER_URL) as unknown as string;
}

// A worker that says nothing for this long did not load.
const startTimeoutMs = 10_000;

export class E2eeWorker {
  private readonly worker: Worker;
  private listener: ((message: FromWorker) => void) | null = null;
  private early: FromWorker[] = [];
  private gone = false;
  private readonly readiness: Promise<Ready>;

  /** Starts a worker. secret null makes a new room; gen is the link's. before: messages that precede "init". */
  constructor(secret: string | null, gen: number, before: readonly ToWorker[] = []) {
    this.worker = new Worker(scriptURL(), { name: "sotto-e2ee" });
    this.readiness = new Promise<Ready>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("worker_silent")), startTimeoutMs);
      const fail = (code: string): void => {
        clearTimeout(timer);
        reject(new Error(code));
      };
      this.worker.onerror = () => fail("worker_failed");
      this.worker.onmessage = (event: MessageEvent<FromWorker>) => {
        const message = event.data;
        if (this.gone) return;
        if (message.type === "ready") {
          clearTimeout(timer);
          resolve(message);
        } else if (message.type === "error" && !this.listener) {
          fail(message.code);
        } else if (this.listener) {
          this.listener(message);
        } else {
          this.early.push(message);
        }
      };
    });
    this.readiness.catch(() => undefined); // ready() reports it
    for (const message of before) this.post(message);
    this.post({ type: "init", secret, gen, host: location.host });
  }

  /** ready resolves when the keys of the link are there; it throws an Error with a code as its message. */
  ready(): Promise<Ready> {
    return this.readiness;
  }

  /** listen hands over every later message except "ready". */
  listen(listener: (message: FromWorker) => void): void {
    this.listener = listener;
    for (const message of this.early.splice(0)) listener(message);
  }

  post(message: ToWorker): void {
    this.worker.postMessage(message, message.type === "envelope" ? [message.data] : []);
  }

  transform(options: TransformOptions): RTCRtpScriptTransform {
    return new RTCRtpScriptTransform(this.worker, options);
  }

  terminate(): void {
    this.gone = true;
    this.worker.terminate();
  }
}

/** missing names what the platform lacks for encrypted calls, if anything. */
export function missing(): "insecure_context" | "browser_no_e2ee" | null {
  if (!window.isSecureContext) return "insecure_context";
  const complete = "RTCRtpScriptTransform" in window && "RTCPeerConnection" in window && "Worker" in window && "mediaDevices" in navigator;
  return complete ? null : "browser_no_e2ee";
}
