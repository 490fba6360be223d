// Those who wait at the door, and the two answers.

import type { Known } from "../../../e2ee/js/src/messages.ts";
import { announce, el, on } from "./dom.ts";
import { icon } from "./icons.ts";
import type { Membership } from "./membership.ts";

const words: Record<Known, string> = {
  new: "never seen on this device",
  known: "seen before",
  verified: "verified by you",
  name_conflict: "this name belonged to another key before",
};

export class KnockList {
  readonly element = el("ul", { class: "knocks", "aria-label": "Waiting to come in" });

  private readonly shown = new Map<string, { row: HTMLElement; known: Known }>();
  private readonly end: () => void;
  private readonly membership: Membership;

  constructor(membership: Membership) {
    this.membership = membership;
    this.end = membership.subscribe(() => this.render());
    this.render();
  }

  dispose(): void {
    this.end();
  }

  private render(): void {
    const { knocks } = this.membership;
    for (const [connId, { row, known }] of this.shown) {
      if (knocks.some((k) => k.connId === connId && k.known === known)) continue;
      row.remove();
      this.shown.delete(connId);
    }
    for (const { connId, name, fingerprint, known } of knocks) {
      if (this.shown.has(connId)) continue;
      const who = name || "Somebody";
      const admit = on(el("button", { type: "button", class: "button primary small", "aria-label": `Let in ${who}` }, "Let in"), "click", () => this.membership.admit(connId));
      const refuse = on(el("button", { type: "button", class: "button small", "aria-label": `No, turn ${who} away` }, "No"), "click", () => this.membership.refuse(connId));
      const row = el(
        "li",
        { class: "notice", "data-conn-id": connId, "data-known": known },
        icon(known === "name_conflict" ? "alert" : "key"),
        el("p", {}, el("strong", { dir: "auto" }, who), " wants to come in ", el("span", { class: "tag" }, fingerprint), ` ${words[known]}`),
        admit,
        refuse,
      );
      this.shown.set(connId, { row, known });
      this.element.append(row);
      announce(`${who} wants to come in`);
    }
    this.element.hidden = knocks.length === 0;
  }
}
