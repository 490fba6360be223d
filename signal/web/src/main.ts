// The page: finds out which room it is for and shows one screen after the other.

import { Call } from "./call.ts";
import { announce } from "./dom.ts";
import { E2eeWorker, missing } from "./e2ee_worker.ts";
import * as link from "./link.ts";
import { LocalMedia } from "./local_media.ts";
import { Membership } from "./membership.ts";
import { recallName } from "./name.ts";
import { prejoinScreen } from "./prejoin_screen.ts";
import { problem, type Problem, type ProblemCode } from "./problems.ts";
import type { RosterChange } from "./roster.ts";
import { RoomScreen } from "./room_screen.ts";
import { ScreenShare } from "./screen_share.ts";
import type { Participant } from "./session.ts";
import type { StatsSource } from "./stats_panel.ts";
import { messageScreen, problemScreen, startScreen } from "./start_screen.ts";
import { TestHooks } from "./test_hooks.ts";

const hooks = SOTTO_TEST_HOOKS ? new TestHooks() : null;

/** What must be undone when the screen changes or the page goes away. */
let disposeScreen: () => void = () => undefined;
let leaveCall: () => void = () => undefined;

function show(element: HTMLElement, title: string, dispose: () => void = () => undefined): void {
  disposeScreen();
  disposeScreen = dispose;
  document.title = title;
  document.getElementById("app")?.replaceChildren(element);
  element.querySelector<HTMLElement>("[tabindex='-1']")?.focus();
}

/** fail ends whatever runs and shows why. */
function fail(what: Problem): void {
  leaveCall();
  leaveCall = () => undefined;
  show(problemScreen(what, () => location.reload()), `${what.title} - Sotto`);
}

function newWorker(secret: string | null, gen = 0): E2eeWorker {
  return new E2eeWorker(secret, gen, hooks?.beforeInit() ?? []);
}

/** workerProblem names what a worker said instead of "ready". */
function workerProblem(error: unknown): Problem {
  const code = error instanceof Error ? error.message : "";
  const codes: Record<string, ProblemCode> = { bad_secret: "link_incomplete", unsupported: "browser_no_e2ee" };
  return problem(codes[code] ?? "page_broken");
}

async function newRoom(): Promise<void> {
  const worker = newWorker(null);
  try {
    const { roomId, secret } = await worker.ready();
    const room: link.TabRoom = { roomId, secret, gen: 0, token: "", call: null };
    link.remember(room);
    history.pushState(null, "", `/r/${roomId}${location.search}`);
    prejoin(room, worker, true);
  } catch (error) {
    worker.terminate();
    fail(workerProblem(error));
  }
}

/** enter takes the key out of the address bar before anything else happens. */
function enter(roomId: string): void {
  const fragment = location.hash;
  if (fragment !== "") history.replaceState(null, "", location.pathname + location.search);
  const stored = link.recall(roomId);
  const secret = link.secretOfFragment(fragment) ?? (fragment === "" ? stored?.secret : null);
  if (!secret) return fail(problem("link_incomplete"));
  const known = stored?.secret === secret ? stored : null;
  const room: link.TabRoom = { roomId, secret, gen: known?.gen ?? 0, token: link.tokenOfFragment(fragment) || (known?.token ?? ""), call: known?.call ?? null };
  link.remember(room);
  const worker = newWorker(secret, room.gen);
  worker.ready().then(
    (ready) => {
      if (ready.roomId === roomId) return;
      worker.terminate();
      link.forget();
      fail(problem("link_mismatch"));
    },
    (error: unknown) => fail(workerProblem(error)),
  );
  prejoin(room, worker, false);
}

function prejoin(room: link.TabRoom, worker: E2eeWorker, isNew: boolean): void {
  const local = new LocalMedia(hooks?.openCamera());
  leaveCall = () => {
    local.stop();
    worker.terminate();
  };
  const join = (name: string, throwaway: boolean): void => inRoom(room, worker, local, name, throwaway);
  if (room.call) {
    // A reload in a call: back in, with the same devices on.
    void Promise.all([local.setOn("camera", room.call.camera), local.setOn("mic", room.call.mic)]);
    return join(recallName(), room.call.throwaway);
  }
  const screen = prejoinScreen(local, link.roomLink(location.origin, room.roomId, room.secret), isNew, (name, throwaway) => {
    local.forgetProblems();
    join(name, throwaway);
  });
  show(screen.element, "Join - Sotto", () => screen.dispose());
  void Promise.all([local.setOn("camera", true), local.setOn("mic", true)]);
  if (hooks?.joinsByItself) join(hooks.name, false);
}

function inRoom(room: link.TabRoom, worker: E2eeWorker, local: LocalMedia, name: string, throwaway: boolean): void {
  const share = new ScreenShare(hooks?.openScreen());
  const render = (change: RosterChange): void => {
    const session = call.session;
    if (!session) return;
    screen.people(session.roster.all(), change, (connId, source) => session.shown(connId, source), session.audioTracks());
  };
  const membership = new Membership({
    link: ({ roomId, secret, gen }) => {
      if (roomId === room.roomId) return; // told again after a break
      // The old link is no longer good: a reload, a new start and whoever is invited take the new one.
      room = { ...room, roomId, secret, gen };
      self.roomId = roomId;
      history.replaceState(null, "", `/r/${roomId}${location.search}`);
      keepDevices();
      screen.newLink(link.roomLink(location.origin, roomId, secret));
    },
    stuck: () => call.session?.startOver(),
    removed: (code) => {
      call.leave();
      fail(problem(code === "removed" ? "kicked" : "duplicate_identity"));
    },
  });
  hooks?.watch(membership);
  const self: Participant = { roomId: room.roomId, token: room.token, name, throwaway, local, share, membership };
  const call = new Call(self, () => newWorker(room.secret, room.gen), {
    people: render,
    slots: () => render({ changed: true }),
    speakers: (speakers) => screen.grid.speakers(speakers),
    session: (session) => hooks?.observe(session),
    state: (state) => {
      switch (state.phase) {
        case "left":
          return over();
        case "failed":
          release();
          return fail(state.problem);
        case "live":
          announce("You are in the room");
      }
      screen.state(state);
    },
  });
  const statistics: StatsSource = {
    report: () => call.session?.media.pc.getStats() ?? Promise.resolve(null),
    counters: () => call.session?.counters ?? null,
    labelOf: (mid) => call.session?.labelOf(mid) ?? "",
  };
  const screen = new RoomScreen(local, share, membership, link.roomLink(location.origin, room.roomId, room.secret), statistics, {
    leave: () => call.leave(),
    retry: () => call.retryNow(),
    tiles: (tiles) => call.show(tiles),
  });
  const keepDevices = (): void => link.remember({ ...room, call: { mic: local.micOn, camera: local.cameraOn, throwaway } });
  const release = (): void => {
    leaveCall = () => undefined;
    local.stop();
    share.stop();
    link.forget();
  };
  const over = (): void => {
    release();
    const act = { label: "Start page", run: () => location.assign("/") };
    show(messageScreen("You have left", "This page has forgotten the room. To come back, open the link again.", act), "Left - Sotto");
  };
  leaveCall = () => {
    call.session?.close();
    local.stop();
    share.stop();
  };
  local.subscribe(keepDevices);
  keepDevices();
  show(screen.element, "In the room - Sotto", () => screen.dispose());
  screen.state(call.state);
  screen.focus();
  call.start(worker);
}

function start(): void {
  const lacking = missing();
  if (lacking) return fail(problem(lacking));
  const roomId = link.roomOfPath(location.pathname);
  if (roomId === null) show(startScreen(newRoom), "Sotto");
  else enter(roomId);
}

// A closed tab leaves at once; what the tab remembers stays, for a reload.
addEventListener("pagehide", () => leaveCall());
// A page from the back-forward cache has left its call: start over.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
// Another link to this room pasted into this tab, or a step in the history: no load happens, so start over.
addEventListener("hashchange", () => location.reload());
addEventListener("popstate", () => location.reload());

start();
