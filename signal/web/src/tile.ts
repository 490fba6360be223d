// One person's picture, with name, microphone and encryption state.

import type { PeerState } from "../../../e2ee/js/src/messages.ts";
import { el, on, setText } from "./dom.ts";
import { icon, type IconName } from "./icons.ts";
import { hasLive, labelOf, monogramOf, type Member } from "./roster.ts";
import type { Pause, Source } from "./protocol.ts";
import { showTrack } from "./video.ts";

const states: Record<PeerState, { icon: IconName; text: string }> = {
  waiting: { icon: "key", text: "Waiting for key" },
  encrypted: { icon: "lock", text: "Encrypted" },
  mismatch: { icon: "alert", text: "Key mismatch" },
  unverified: { icon: "alert", text: "Not verified" },
  forged: { icon: "alert", text: "Forged: hidden" },
};

const reactionMs = 4000;

/** What is said over a picture that pauses; what is hidden nobody sees. */
const pauses: Record<Pause, string> = {
  "": "",
  hidden: "",
  bandwidth: "Paused: the connection is too slow",
  publisher: "No picture arrives",
};

/** What a tile gets to show. */
export interface Shown {
  /** Of the slot that the source is in, if any. */
  track: MediaStreamTrack | null;
  paused: Pause;
}

export class Tile {
  readonly element: HTMLElement;
  readonly connId: string;
  readonly source: Source;
  readonly video: HTMLVideoElement;

  private readonly monogram = el("span", { class: "monogram", "aria-hidden": "true" });
  private readonly name = el("span", { class: "name" });
  private readonly tag = el("span", { class: "tag", title: "Fingerprint: the name could be taken for somebody else's", hidden: true });
  private readonly muted = el("span", { class: "muted" });
  private readonly hand = el("span", { class: "hand", hidden: true }, icon("hand"), el("span", { class: "visually-hidden" }, "Hand raised"));
  private readonly reaction = el("span", { class: "flying", "aria-hidden": "true" });
  private readonly state = el("span", { class: "state" });
  private readonly pause = el("p", { class: "pause" });
  private readonly pin: HTMLButtonElement;
  private shownState: PeerState | null = null;
  private reactionTimer: number | undefined;

  constructor(member: Member, source: Source, pin: () => void) {
    this.connId = member.connId;
    this.source = source;
    this.video = el("video", { "aria-hidden": "true" });
    this.video.muted = true; // sound comes from the audio receivers
    this.video.playsInline = true;
    // A picture is one only when a frame was decoded: before, the element is black.
    this.video.addEventListener("loadeddata", () => this.element.classList.add("has-picture"));
    this.video.addEventListener("emptied", () => this.element.classList.remove("has-picture"));
    this.pin = on(el("button", { type: "button", class: "pin" }, icon("pin")), "click", pin);
    this.muted.append(icon("micOff"), el("span", { class: "visually-hidden" }, "Muted"));
    this.element = el(
      "article",
      { class: `tile tone-${member.leaf % 6}`, "data-conn-id": member.connId, "data-source": source, "data-leaf": String(member.leaf) },
      this.monogram,
      this.video,
      this.pause,
      this.state,
      this.pin,
      el("p", { class: "plate" }, this.muted, this.hand, this.name, this.tag),
      this.reaction,
    );
    on(this.element, "dblclick", (event) => {
      if (!this.pin.contains(event.target as Node)) pin();
    });
    this.update(member, { track: null, paused: "" });
  }

  /** mark shows what concerns the tile's place among the others. */
  mark({ featured, pinned, speaking }: { featured: boolean; pinned: boolean; speaking: boolean }): void {
    this.element.classList.toggle("featured", featured);
    this.element.classList.toggle("speaking", speaking && this.source === "camera");
    const label = `${pinned || (featured && this.source === "screen") ? "Make small" : "Make large"}: ${this.name.textContent}`;
    if (this.pin.title === label) return;
    this.pin.title = label;
    this.pin.setAttribute("aria-label", label);
    this.pin.setAttribute("aria-pressed", String(pinned));
  }

  /** update shows what is known now. */
  update(member: Member, { track, paused }: Shown): void {
    const live = hasLive(member, this.source);
    const pause = live ? pauses[paused] : ""; // a camera that is off is no pause
    const name = labelOf(member, this.source);
    setText(this.name, name);
    setText(this.tag, member.tag);
    this.tag.hidden = member.tag === "";
    setText(this.monogram, monogramOf(member));
    this.muted.hidden = this.source === "screen" || hasLive(member, "mic");
    showTrack(this.video, track);
    this.element.classList.toggle("live", live && (member.state === "encrypted" || member.state === "unverified"));
    this.showState(member.state);
    setText(this.pause, pause);
    this.pause.hidden = pause === "";
    this.element.classList.toggle("paused", pause !== "");
    this.element.setAttribute("aria-label", [name, member.tag, states[member.state].text, this.muted.hidden ? "" : "muted", live ? pause : "camera off"].filter(Boolean).join(", "));
  }

  raise(hand: boolean): void {
    this.hand.hidden = !hand || this.source === "screen";
  }

  /** react shows an emoji for a moment. */
  react(emoji: string): void {
    this.reaction.textContent = emoji;
    clearTimeout(this.reactionTimer);
    this.reactionTimer = setTimeout(() => (this.reaction.textContent = ""), reactionMs);
  }

  private showState(state: PeerState): void {
    if (state === this.shownState) return;
    this.shownState = state;
    this.element.dataset["state"] = state;
    this.state.replaceChildren(icon(states[state].icon), el("span", {}, states[state].text));
  }
}
