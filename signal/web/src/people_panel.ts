// The panel with everybody in the group: what is known of each, the codes to
// verify them by, and what the host may do.

import type { Code, GroupMember, Known } from "../../../e2ee/js/src/messages.ts";
import { closeOnEscape } from "./controls.ts";
import { el, on, setText } from "./dom.ts";
import { icon } from "./icons.ts";
import type { Membership } from "./membership.ts";
import { isHidden, type Member } from "./roster.ts";

const words: Record<Known, string> = {
  new: "First seen in this call",
  known: "Seen before on this device",
  verified: "Verified by you",
  name_conflict: "Another key had this name before. Compare the code.",
};

export class PeoplePanel {
  readonly element: HTMLElement;

  private readonly list = el("ul", { class: "people" });
  private readonly group = el("div", { class: "code" });
  private readonly host = el("div", { class: "host-tools" });
  private readonly locked = check("Lock the room: nobody new comes in unless you let them in");
  private readonly knock = check("Newcomers knock: somebody in the room lets them in");
  private readonly sign = check("Sign what I send: others notice if somebody in the room forges it (at most 16 people)");
  private readonly end: () => void;
  private opened: string | null = null; // whose code is shown

  private readonly membership: Membership;
  private readonly listed: () => readonly Member[];

  /** listed are the others, as the service shows them. */
  constructor(membership: Membership, listed: () => readonly Member[], close: () => void) {
    this.membership = membership;
    this.listed = listed;
    const policy = (): void => membership.setPolicy(this.locked.input.checked, this.knock.input.checked);
    on(this.locked.input, "change", policy);
    on(this.knock.input, "change", policy);
    on(this.sign.input, "change", () => membership.setSignMedia(this.sign.input.checked));
    const rotate = on(el("button", { type: "button", class: "button small" }, "Replace the link"), "click", () => membership.rotate());
    this.host.append(el("h3", {}, "You are the host"), this.locked.element, this.knock.element, rotate);
    this.element = el(
      "aside",
      { class: "panel side people-panel", "aria-label": "People", tabindex: "-1", hidden: true },
      el("header", {}, el("h2", {}, "People"), on(el("button", { type: "button", class: "small-control", "aria-label": "Close people" }, icon("close")), "click", close)),
      this.list,
      el("h3", {}, "Safety code of this call"),
      el("p", { class: "quiet" }, "Everybody in the call sees the same code. If somebody reads out another one, a stranger is listening."),
      this.group,
      this.sign.element,
      this.host,
    );
    closeOnEscape(this.element, close);
    this.end = membership.subscribe(() => this.render());
  }

  get open(): boolean {
    return !this.element.hidden;
  }

  set open(open: boolean) {
    this.element.hidden = !open;
    this.render();
    if (open) this.element.focus();
  }

  dispose(): void {
    this.end();
  }

  /** render shows what is known now. Who has left is listed no more a moment before the group knows. */
  render(): void {
    if (!this.open) return;
    const { membership } = this;
    if (!membership.codes && membership.state === "member") membership.askCodes();
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["act"] : undefined;
    this.list.replaceChildren(...membership.members.map((m) => this.person(m)));
    if (focused) this.list.querySelector<HTMLElement>(`[data-act="${CSS.escape(focused)}"]`)?.focus();
    this.group.replaceChildren(...(membership.codes ? code(membership.codes.group) : [el("p", { class: "quiet" }, "…")]));
    this.sign.input.checked = membership.signMedia;
    this.host.hidden = !membership.isHost;
    this.locked.input.checked = membership.locked;
    this.knock.input.checked = membership.knock;
  }

  private person(m: GroupMember): HTMLElement {
    const row = el(
      "li",
      { "data-known": m.known, "data-conn-id": m.connId },
      el(
        "p",
        { class: "person" },
        el("strong", { dir: "auto" }, m.self ? `${m.name || "Guest"} (you)` : m.name || "Guest"),
        el("span", { class: "tag", title: "Fingerprint of this person's key" }, m.fingerprint),
        m.host && el("span", { class: "badge" }, "host"),
        this.membership.hands.has(m.connId) && el("span", { class: "badge" }, "hand raised"),
      ),
    );
    if (m.self) return row;
    if (isHidden(this.listed(), m)) {
      row.dataset["hidden"] = "";
      row.append(el("p", { class: "warn" }, icon("alert"), "In the room's keys, not shown by the server."));
    }
    const shown = this.opened === m.connId;
    const who = m.name || "Guest";
    const toggle = on(
      el("button", { type: "button", class: "button small", "aria-expanded": String(shown), "aria-label": `${shown ? "Hide code" : "Compare code"} of ${who}`, "data-act": `code ${m.connId}` }, shown ? "Hide code" : "Compare code"),
      "click",
      () => {
        this.opened = shown ? null : m.connId;
        this.render();
      },
    );
    const remove = on(el("button", { type: "button", class: "button small danger", "aria-label": `Remove ${who}`, "data-act": `kick ${m.connId}` }, "Remove"), "click", () => this.membership.kick(m.connId));
    row.append(
      el("p", { class: m.known === "name_conflict" ? "warn" : "quiet" }, m.known === "name_conflict" && icon("alert"), words[m.known]),
      el("div", { class: "person-tools" }, toggle, this.membership.isHost && remove),
    );
    const own = this.membership.codes?.persons.find((p) => p.connId === m.connId);
    if (shown && own) {
      const verified = check("The codes are equal: I compared them with this person");
      verified.input.checked = m.known === "verified";
      verified.input.dataset["act"] = `verify ${m.connId}`;
      on(verified.input, "change", () => this.membership.verify(m.fingerprint, verified.input.checked));
      row.append(el("div", { class: "code" }, ...code(own.code), verified.element));
    }
    return row;
  }
}

/** code shows the same number twice; people read out what suits them. */
function code({ digits, emoji }: Code): HTMLElement[] {
  return [el("p", { class: "digits" }, digits), el("p", { class: "emoji", "aria-hidden": "true" }, emoji.join(" "))];
}

function check(text: string): { element: HTMLElement; input: HTMLInputElement } {
  const input = el("input", { type: "checkbox" });
  const label = el("span");
  setText(label, text);
  return { element: el("label", { class: "check" }, input, label), input };
}
