// A call from joining to leaving: one session after the other. A session
// survives a broken connection by itself; one that is lost is followed by a new
// one, with a new worker (and so new keys and a new connection id) and a new
// peer connection.

import { backoffMs } from "./backoff.ts";
import { E2eeWorker } from "./e2ee_worker.ts";
import type { Failure, Problem } from "./problems.ts";
import type { RosterChange } from "./roster.ts";
import { Session, type Participant } from "./session.ts";
import type { Speakers } from "./speaker.ts";
import type { TileView } from "./wishes.ts";

export type CallState =
  | { phase: "connecting" }
  | { phase: "live" }
  /** Signaling comes back; sound and picture go on meanwhile. */
  | { phase: "resuming"; problem: Problem }
  | { phase: "reconnecting"; problem: Problem }
  /** Over, because of a problem that trying again does not solve. */
  | { phase: "failed"; problem: Problem }
  | { phase: "left" };

export interface CallEvents {
  state(state: CallState): void;
  people(change: RosterChange): void;
  slots(): void;
  speakers(speakers: Speakers): void;
  /** A new session starts; tests hook into it. */
  session(session: Session): void;
}

/** startWorker makes the worker of a session. */
export type StartWorker = () => E2eeWorker;

// A session that lived this long counts as a success: the next loss starts
// with a short wait again.
const stableMs = 10_000;

export class Call {
  session: Session | null = null;
  state: CallState = { phase: "connecting" };

  private attempt = 0;
  private retryTimer: number | undefined;
  private stableTimer: number | undefined;
  private tiles: readonly TileView[] = [];
  private readonly online = (): void => this.retryNow();

  private readonly self: Participant;
  private readonly startWorker: StartWorker;
  private readonly events: CallEvents;

  constructor(self: Participant, startWorker: StartWorker, events: CallEvents) {
    this.self = self;
    this.startWorker = startWorker;
    this.events = events;
  }

  /** start joins; first is the worker that already runs, if there is one. */
  start(first: E2eeWorker | null): void {
    addEventListener("online", this.online);
    this.open(first ?? this.startWorker());
  }

  show(tiles: readonly TileView[]): void {
    this.tiles = tiles;
    this.session?.show(tiles);
  }

  /** retryNow ends a wait for the next attempt. */
  retryNow(): void {
    this.session?.hurry();
    if (this.retryTimer === undefined) return;
    clearTimeout(this.retryTimer);
    this.retryTimer = undefined;
    this.open(this.startWorker());
  }

  leave(): void {
    this.stop();
    this.session?.close();
    this.session = null;
    this.set({ phase: "left" });
  }

  private open(worker: E2eeWorker): void {
    const session = new Session(worker, this.self, {
      live: () => {
        clearTimeout(this.stableTimer);
        this.stableTimer = setTimeout(() => (this.attempt = 0), stableMs);
        this.set({ phase: "live" });
      },
      interrupted: ({ problem }, media) => this.set({ phase: media ? "reconnecting" : "resuming", problem }),
      people: (change) => this.events.people(change),
      slots: () => this.events.slots(),
      speakers: (speakers) => this.events.speakers(speakers),
      ended: (failure) => this.ended(failure),
    });
    this.session = session;
    session.show(this.tiles);
    this.events.session(session);
  }

  private ended({ problem, retry }: Failure): void {
    clearTimeout(this.stableTimer);
    if (!retry) {
      this.stop();
      this.session = null;
      this.set({ phase: "failed", problem });
      return;
    }
    this.attempt++;
    this.set({ phase: "reconnecting", problem });
    this.retryTimer = setTimeout(() => this.retryNow(), backoffMs(this.attempt, Math.random()));
  }

  private stop(): void {
    removeEventListener("online", this.online);
    clearTimeout(this.retryTimer);
    clearTimeout(this.stableTimer);
    this.retryTimer = undefined;
  }

  private set(state: CallState): void {
    this.state = state;
    this.events.state(state);
  }
}
