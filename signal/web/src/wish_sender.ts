// Sends wishes when they changed, at most once per interval.

import { sameWishes } from "./wishes.ts";
import type { Wish } from "./protocol.ts";

// Long enough to collect what one change of the window causes.
export const wishDelayMs = 80;

export class WishSender {
  private sent: Wish[] | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  private readonly compute: () => Wish[];
  private readonly send: (wishes: Wish[]) => void;

  constructor(compute: () => Wish[], send: (wishes: Wish[]) => void) {
    this.compute = compute;
    this.send = send;
  }

  /** schedule sends soon what is wanted then. */
  schedule(): void {
    this.timer ??= setTimeout(() => this.flush(), wishDelayMs);
  }

  /** flush sends at once, if anything changed. */
  flush(): void {
    this.stop();
    const wishes = this.compute();
    if (this.sent && sameWishes(this.sent, wishes)) return;
    this.sent = wishes;
    this.send(wishes);
  }

  /** again sends at once, even what was sent before: the service may have forgotten it. */
  again(): void {
    this.sent = null;
    this.flush();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
