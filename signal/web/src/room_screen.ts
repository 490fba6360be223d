// In the room: the others, oneself, the state of the call, and the controls.

import type { PeerState } from "../../../e2ee/js/src/messages.ts";
import type { CallState } from "./call.ts";
import { ChatPanel } from "./chat_panel.ts";
import { copyLink, type CopyLink, deviceKeys, notice, shareButton, shortcuts, smallButton, toggle, wordmark } from "./controls.ts";
import { announce, el, on } from "./dom.ts";
import { Grid } from "./grid.ts";
import { helpDialog } from "./help.ts";
import { icon, type IconName } from "./icons.ts";
import { MicMeter, SpeechNotice } from "./level_meter.ts";
import type { LocalMedia } from "./local_media.ts";
import { KnockList } from "./knock_list.ts";
import type { Membership, Notice } from "./membership.ts";
import { PeoplePanel } from "./people_panel.ts";
import { problem, type Problem } from "./problems.ts";
import type { Source } from "./protocol.ts";
import { headcount, nameOf, type Member, type RosterChange } from "./roster.ts";
import { canShare, type ScreenShare } from "./screen_share.ts";
import { StatsPanel, type StatsSource } from "./stats_panel.ts";
import type { Shown } from "./tile.ts";
import { AudioOutput, showTrack } from "./video.ts";
import type { TileView } from "./wishes.ts";

export interface RoomActions {
  leave(): void;
  retry(): void;
  tiles(tiles: TileView[]): void;
}

// Longer than it takes to be let in where nobody has to decide.
const waitMs = 2500;

export class RoomScreen {
  readonly element: HTMLElement;
  readonly grid: Grid;

  private readonly audio: AudioOutput;
  private readonly banner = el("div", { class: "banner" });
  private readonly summary = el("p", { class: "summary" });
  private readonly self: HTMLElement;
  private readonly selfVideo = el("video", { class: "mirrored", "aria-hidden": "true" });
  private readonly selfName = el("p", { class: "plate" }, el("span", { class: "name" }, "You"));
  private readonly stage: HTMLElement;
  private readonly statistics: StatsPanel;
  private readonly chat: ChatPanel;
  private readonly peoplePanel: PeoplePanel;
  private readonly knocks: KnockList;
  private readonly links: CopyLink[];
  private readonly chatButton: HTMLButtonElement;
  private readonly peopleButton: HTMLButtonElement;
  private readonly statisticsButton: HTMLButtonElement;
  private readonly handButton: HTMLButtonElement;
  private readonly help = helpDialog();
  private readonly speech = new SpeechNotice();
  private readonly ear = new MicMeter((level) => {
    if (this.speech.hear(level)) this.show("muted", problem("muted_speaking"), "Unmute", () => void this.local.setOn("mic", true));
  });
  private readonly ends: (() => void)[] = [];
  private readonly shown = new Map<string, string>();
  private readonly viewButton = smallButton("speaker", "Speaker view", "L", () => this.switchView());
  private readonly selfReaction = el("span", { class: "flying", "aria-hidden": "true" });
  private selfReactionTimer: number | undefined;
  private waitTimer: number | undefined;
  private phase: CallState["phase"] = "connecting";
  private members: readonly Member[] = [];
  private hands: ReadonlySet<string> = new Set(); // that were announced
  private readonly arriving = new Set<string>(); // connections that are not in the group yet
  private opener: HTMLElement | null = null; // of the panels

  private readonly local: LocalMedia;
  private readonly share: ScreenShare;
  private readonly membership: Membership;
  private readonly actions: RoomActions;

  constructor(local: LocalMedia, share: ScreenShare, membership: Membership, link: string, statistics: StatsSource, actions: RoomActions) {
    this.local = local;
    this.share = share;
    this.membership = membership;
    this.actions = actions;
    this.links = [copyLink(link, "button"), copyLink(link, "control")];
    this.knocks = new KnockList(membership);
    this.chatButton = smallButton("chat", "Chat", "C", () => this.togglePanel(this.chat));
    this.peopleButton = smallButton("people", "People", "U", () => this.togglePanel(this.peoplePanel));
    this.chat = new ChatPanel(membership, () => this.togglePanel(this.chat), (unseen) => this.showUnseen(unseen));
    this.peoplePanel = new PeoplePanel(membership, () => this.members, () => this.togglePanel(this.peoplePanel));
    this.statisticsButton = smallButton("chart", "Statistics", "S", () => this.togglePanel(this.statistics));
    this.handButton = smallButton("hand", "Raise hand", "H", () => this.toggleHand());
    this.grid = new Grid({
      tiles: (tiles) => actions.tiles(tiles),
      featured: (source) => this.stage.classList.toggle("has-face", source === "camera"),
    });
    this.audio = new AudioOutput((blocked) => this.show("sound", blocked ? problem("autoplay") : null, "Turn sound on", () => this.audio.resume()));
    this.selfVideo.muted = true;
    this.selfVideo.playsInline = true;
    this.selfVideo.disablePictureInPicture = true;
    this.self = el("article", { class: "self", "aria-label": "You" }, el("span", { class: "monogram", "aria-hidden": "true" }), this.selfVideo, this.selfName, this.selfReaction);
    const alone = el(
      "section",
      { class: "alone" },
      el("h2", {}, "Nobody else is here yet"),
      el("p", {}, "Whoever has the link can join."),
      this.links[0]?.button ?? null,
    );
    this.statistics = new StatsPanel(statistics, () => this.togglePanel(this.statistics));
    this.stage = el("main", { class: "stage", tabindex: "-1", "aria-label": "Call" }, el("h1", { class: "visually-hidden" }, "Call"), this.grid.element, this.self, alone, this.statistics.element, this.peoplePanel.element, this.chat.element);
    const mic = toggle(local, "mic");
    const camera = toggle(local, "camera");
    const sharing = shareButton(share);
    const leave = el("button", { type: "button", class: "control leave", title: "Leave the room" }, el("span", { class: "face" }, icon("leave")), el("span", { class: "caption" }, "Leave"));
    this.element = el(
      "div",
      { class: "room" },
      el("header", { class: "top" }, wordmark(), this.summary, this.tools()),
      el("section", { class: "notes", "aria-label": "Notices" }, this.banner, this.knocks.element),
      this.stage,
      el(
        "section",
        { class: "bar", "aria-label": "Call controls" },
        mic.button,
        camera.button,
        (canShare() || SOTTO_TEST_HOOKS) && sharing.button,
        this.links[1]?.button ?? null,
        on(leave, "click", () => actions.leave()),
      ),
      this.help,
    );
    const render = (): void => {
      mic.render();
      camera.render();
      sharing.render();
      this.renderSelf();
    };
    this.ends.push(
      local.subscribe(render), share.subscribe(render), deviceKeys(local), shortcuts(this.keys()),
      membership.subscribe(() => this.renderMembership()),
      membership.onReaction(({ connId, emoji }) => this.showReaction(connId, emoji)),
      membership.onNotice((n) => this.notice(n)),
    );
    render();
    this.people([], { changed: true }, () => ({ track: null, paused: "" }), []);
  }

  /** people shows who is here; audioTracks are those of all audio receivers. */
  people(members: readonly Member[], change: RosterChange, shownOf: (connId: string, source: Source) => Shown, audioTracks: readonly MediaStreamTrack[]): void {
    this.grid.update(members, shownOf);
    this.grid.hands(this.membership.hands);
    this.audio.show(audioTracks);
    if (change.joined) this.arriving.add(change.joined.connId);
    if (change.left && !this.arriving.delete(change.left.connId)) announce(`${nameOf(change.left)} left`);
    this.members = members;
    this.announceArrivals();
    if (change.joined) this.peoplePanel.render();
    this.show("forged", members.some((m) => m.state === "forged") ? problem("media_forged") : null);
    this.renderSummary();
  }

  state(state: CallState): void {
    this.phase = state.phase;
    this.element.dataset["phase"] = state.phase;
    if (state.phase === "reconnecting" || state.phase === "resuming") this.show("call", state.problem, "Try now", () => this.actions.retry());
    if (state.phase === "live") this.show("call", null);
    this.renderSummary();
  }

  /** newLink is for after the host replaced the room's link. */
  newLink(link: string): void {
    for (const copy of this.links) copy.set(link);
    announce("The room has a new link");
  }

  focus(): void {
    this.stage.focus();
  }

  dispose(): void {
    for (const end of this.ends) end();
    this.grid.dispose();
    this.statistics.dispose();
    this.chat.dispose();
    this.peoplePanel.dispose();
    this.knocks.dispose();
    clearTimeout(this.waitTimer);
    this.ear.listen(null);
    this.audio.show([]);
    this.selfVideo.srcObject = null;
  }

  private keys(): Record<string, () => void> {
    const keys: Record<string, () => void> = { l: () => this.switchView(), p: () => void this.share.toggle(), s: () => this.togglePanel(this.statistics), c: () => this.togglePanel(this.chat), u: () => this.togglePanel(this.peoplePanel), h: () => this.toggleHand(), "?": () => this.help.showModal(), escape: () => this.escape() };
    for (let n = 1; n <= 9; n++) keys[n] = () => this.grid.pinNth(n - 1);
    return keys;
  }

  private tools(): HTMLElement {
    return el(
      "div",
      { class: "tools", role: "group", "aria-label": "View" },
      this.handButton,
      this.peopleButton,
      this.chatButton,
      this.viewButton,
      this.statisticsButton,
      smallButton("help", "Keys", "?", () => this.help.showModal()),
    );
  }

  /** togglePanel opens or closes a panel. Who closes it is back where they opened it. */
  private togglePanel(panel: ChatPanel | PeoplePanel | StatsPanel): void {
    const open = !panel.open;
    const at = document.activeElement;
    if (open && at instanceof HTMLElement && !at.closest(".panel")) this.opener = at;
    if (open && panel === this.chat) this.peoplePanel.open = false; // they share a place
    if (open && panel === this.peoplePanel) this.chat.open = false;
    panel.open = open;
    this.chatButton.setAttribute("aria-expanded", String(this.chat.open));
    this.peopleButton.setAttribute("aria-expanded", String(this.peoplePanel.open));
    this.statisticsButton.setAttribute("aria-expanded", String(this.statistics.open));
    if (open) return;
    this.stage.focus(); // if the opener is gone
    this.opener?.focus();
  }

  private escape(): void {
    const open = [this.chat, this.peoplePanel, this.statistics].find((p) => p.open);
    if (open) this.togglePanel(open);
    else this.grid.unpin();
  }

  /** showUnseen says how many lines of the chat wait to be read. */
  private showUnseen(unseen: number): void {
    this.chatButton.dataset["unseen"] = unseen > 0 ? String(Math.min(unseen, 99)) : "";
    this.chatButton.setAttribute("aria-label", unseen > 0 ? `Chat, ${unseen} new` : "Chat");
    if (unseen > 0) announce("New in the chat");
  }

  private toggleHand(): void {
    const raised = !this.membership.handRaised;
    this.membership.raiseHand(raised);
    announce(raised ? "Hand raised" : "Hand lowered");
  }

  private showReaction(connId: string, emoji: string): void {
    if (connId !== "") {
      this.grid.react(connId, emoji);
      announce(`${this.membership.member(connId)?.name || "Guest"}: ${emoji}`);
      return;
    }
    this.selfReaction.textContent = emoji;
    clearTimeout(this.selfReactionTimer);
    this.selfReactionTimer = setTimeout(() => (this.selfReaction.textContent = ""), 4000);
  }

  private renderMembership(): void {
    const { handRaised, hands, state } = this.membership;
    this.handButton.classList.toggle("on", handRaised);
    this.handButton.setAttribute("aria-pressed", String(handRaised));
    this.grid.hands(hands);
    this.announceArrivals();
    for (const connId of hands) if (!this.hands.has(connId)) announce(`${this.membership.member(connId)?.name || "Guest"} raised a hand`);
    this.hands = new Set(hands);
    this.show("link", this.membership.linkRefused ? problem("link_refused") : null);
    this.show("out_of_sync", state === "out_of_sync" ? problem("out_of_sync") : null);
    if (state !== "waiting") {
      clearTimeout(this.waitTimer);
      this.waitTimer = undefined;
      this.show("waiting", null);
    } else {
      // Being let in takes a moment; longer means that somebody has to decide.
      this.waitTimer ??= setTimeout(() => this.show("waiting", problem("waiting_to_be_let_in")), waitMs);
    }
    this.renderSummary();
  }

  /** notice says what happened to the group, where it concerns the person. */
  private notice({ code, name }: Notice): void {
    switch (code) {
      case "invalid_commit":
        this.show("refused", { ...problem("invalid_commit"), text: `${name || "Somebody"} in the call tried a change of the group that is against its rules. Everybody refused it.` }, "OK", () => this.show("refused", null));
        break;
      case "host_changed":
        this.show("host", problem("host_changed"), "I understand", () => {
          this.membership.acceptHost();
          this.show("host", null);
        });
        break;
      case "lock_lost":
        this.show("lock", problem("lock_lost"), "I understand", () => this.show("lock", null));
        break;
      case "policy_changed":
        announce(this.membership.locked ? "The room is locked" : this.membership.knock ? "Newcomers knock now" : "The room is open");
        break;
    }
  }

  private switchView(): void {
    this.grid.view = this.grid.view === "grid" ? "speaker" : "grid";
    const other = this.grid.view === "grid" ? "Speaker view" : "Grid view";
    this.viewButton.replaceChildren(icon(this.grid.view === "grid" ? "speaker" : "grid"));
    this.viewButton.title = `${other} (L)`;
    this.viewButton.setAttribute("aria-label", other);
    announce(this.grid.view === "grid" ? "Grid view" : "Speaker view");
  }

  /** Who has come is known by name as soon as they are in the group. */
  private announceArrivals(): void {
    for (const connId of this.arriving) {
      const member = this.members.find((m) => m.connId === connId);
      const known = this.membership.member(connId);
      if (member && !known) continue;
      this.arriving.delete(connId);
      if (member && known) announce(`${nameOf({ leaf: member.leaf, name: known.name })} joined`);
    }
  }

  private renderSelf(): void {
    showTrack(this.selfVideo, this.local.camera);
    this.self.classList.toggle("live", this.local.camera !== null);
    const off = !this.local.live("mic");
    if (!off) {
      this.speech.reset();
      this.show("muted", null);
    }
    this.ear.listen(off ? this.local.mic : null);
    this.show("share", this.share.problem, "Try again", () => void this.share.toggle());
    this.selfName.replaceChildren(...(off ? [el("span", { class: "muted" }, icon("micOff"), el("span", { class: "visually-hidden" }, "Muted"))] : []), el("span", { class: "name" }, this.share.on ? "You, sharing your screen" : "You"));
    for (const kind of ["camera", "mic"] as const) {
      this.show(kind, this.local.problems[kind], "Try again", () => void this.local.setOn(kind, true));
    }
  }

  private renderSummary(): void {
    this.stage.classList.toggle("is-alone", headcount(this.members, this.membership.members) < 2);
    const { icon: name, text, state } = summarise(this.phase, this.members, this.membership);
    this.summary.dataset["state"] = state;
    if (this.summary.textContent === text) return;
    this.summary.replaceChildren(...(name ? [icon(name)] : []), text);
    if (state === "mismatch") announce(text);
  }

  /** show puts a problem into the banner under a name of its own, or takes it away. */
  private show(name: string, what: Problem | null, label = "", run: () => void = () => undefined): void {
    if ((this.shown.get(name) ?? null) === (what?.code ?? null)) return;
    const at = [...this.shown.keys()].indexOf(name);
    if (at >= 0) this.banner.children[at]?.remove();
    this.shown.delete(name);
    if (!what) return;
    this.shown.set(name, what.code);
    this.banner.append(notice(what, label === "" ? null : { label, run }));
  }
}

/** summarise is about the others: one's own frames are always sealed. */
function summarise(phase: CallState["phase"], members: readonly Member[], membership: Membership): { icon: IconName | null; text: string; state: PeerState | "none" } {
  if (phase === "reconnecting" || phase === "resuming") return { icon: null, text: "Reconnecting", state: "none" };
  if (phase === "connecting") return { icon: null, text: "Joining", state: "none" };
  const count = (state: PeerState): number => members.filter((m) => m.state === state).length;
  const forged = count("forged");
  if (forged > 0) return { icon: "alert", text: forged === 1 ? "1 person is forged" : `${forged} people are forged`, state: "forged" };
  const mismatch = count("mismatch");
  if (mismatch > 0) return { icon: "alert", text: `${mismatch === 1 ? "1 key does" : `${mismatch} keys do`} not fit`, state: "mismatch" };
  if (membership.state === "waiting") return { icon: "key", text: "Waiting to be let in", state: "waiting" };
  if (membership.state === "out_of_sync") return { icon: "alert", text: "Out of the group", state: "mismatch" };
  const waiting = count("waiting");
  if (waiting > 0) return { icon: "key", text: `Waiting for ${waiting === 1 ? "a key" : `${waiting} keys`}`, state: "waiting" };
  const people = headcount(members, membership.members);
  return { icon: "lock", text: people < 2 ? (membership.locked ? "Encrypted room, locked" : "Encrypted room") : `${people} people, end-to-end encrypted`, state: "encrypted" };
}
