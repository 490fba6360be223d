// When to try to come back to a participation whose connection broke, and when
// to give it up.

import { backoffMs } from "./backoff.ts";

// The service keeps a participation for this long without its connection.
const keptMs = 20_000;

// The first attempt follows almost at once: only so late that clients which
// lost the same service do not come back in the same moment.
const firstMs = 250;

// An attempt that is not through by then is followed by the next.
const attemptMs = 5000;

export interface ResumptionEvents {
  attempt(): void;
  /** Too late: the participation is over. */
  expired(): void;
}

export class Resumption {
  private since: number | null = null;
  private attempts = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private trying = false;

  private readonly events: ResumptionEvents;
  private readonly random: () => number;
  private readonly now: () => number;

  constructor(events: ResumptionEvents, random: () => number = Math.random, now: () => number = () => performance.now()) {
    this.events = events;
    this.random = random;
    this.now = now;
  }

  /** active from the break until done(). */
  get active(): boolean {
    return this.since !== null;
  }

  /** broken is for a connection that was lost, and for an attempt that failed. */
  broken(): void {
    this.since ??= this.now();
    this.trying = false;
    if (this.now() - this.since >= keptMs) {
      this.done();
      this.events.expired();
      return;
    }
    this.wait(this.attempts === 0 ? firstMs * this.random() : backoffMs(this.attempts, this.random()));
  }

  /** hurry ends a wait for the next attempt. */
  hurry(): void {
    if (this.active && !this.trying) this.wait(0);
  }

  done(): void {
    clearTimeout(this.timer);
    this.since = null;
    this.attempts = 0;
    this.trying = false;
  }

  private wait(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.attempts++;
      this.trying = true;
      this.timer = setTimeout(() => this.broken(), attemptMs);
      this.events.attempt();
    }, ms);
  }
}
