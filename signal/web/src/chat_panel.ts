// The panel with the conversation: text, files, reactions. All of it is sealed
// for the members; the service sees sizes.

import { closeOnEscape } from "./controls.ts";
import { el, on, setText } from "./dom.ts";
import { icon } from "./icons.ts";
import { maxFileSize, maxText, reactions, type Line, type Membership } from "./membership.ts";
import { needsTag } from "./roster.ts";

export class ChatPanel {
  readonly element: HTMLElement;

  private readonly list = el("ol", { class: "lines" });
  private readonly log = el("div", { class: "log", role: "log", "aria-label": "Conversation", "aria-relevant": "additions", tabindex: "0" }, this.list);
  private readonly input = el("textarea", { id: "say", rows: "2", maxlength: String(maxText), placeholder: "Say something to everybody", "aria-label": "Message" });
  private readonly hint = el("p", { class: "hint", role: "status" });
  private readonly rows = new Map<string, { row: HTMLElement; state: HTMLElement | null }>();
  private readonly end: () => void;
  private unseen = 0;
  private heard = 0; // lines of others not yet counted

  private readonly membership: Membership;
  private readonly badge: (unseen: number) => void;

  /** badge is told how many lines came while the panel was closed. */
  constructor(membership: Membership, close: () => void, badge: (unseen: number) => void) {
    this.membership = membership;
    this.badge = badge;
    const picker = el("input", { type: "file", class: "visually-hidden", tabindex: "-1", "aria-hidden": "true" });
    on(picker, "change", () => {
      const file = picker.files?.[0];
      picker.value = "";
      if (file) this.attach(file);
    });
    on(this.input, "keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    const attach = on(el("button", { type: "button", class: "small-control", title: "Send a file", "aria-label": "Send a file" }, icon("clip")), "click", () => picker.click());
    const send = on(el("button", { type: "button", class: "button primary small" }, "Send"), "click", () => this.send());
    const quick = reactions.map((emoji) =>
      on(el("button", { type: "button", class: "reaction", "aria-label": `React with ${emoji}` }, emoji), "click", () => membership.react(emoji)),
    );
    this.element = el(
      "aside",
      { class: "panel side chat", "aria-label": "Chat", hidden: true },
      el("header", {}, el("h2", {}, "Chat"), on(el("button", { type: "button", class: "small-control", "aria-label": "Close chat" }, icon("close")), "click", close)),
      this.log,
      this.hint,
      el("div", { class: "reactions", role: "group", "aria-label": "Reactions" }, ...quick),
      el("div", { class: "compose" }, this.input, el("div", { class: "compose-row" }, attach, picker, send)),
    );
    closeOnEscape(this.element, close);
    this.end = membership.subscribe(() => this.render());
    this.render();
  }

  get open(): boolean {
    return !this.element.hidden;
  }

  set open(open: boolean) {
    this.element.hidden = !open;
    if (!open) return;
    this.unseen = 0;
    this.badge(0);
    this.log.scrollTop = this.log.scrollHeight;
    this.input.focus();
  }

  dispose(): void {
    this.end();
  }

  private send(): void {
    const text = this.input.value.trim();
    if (text === "" || this.membership.state !== "member") return;
    this.membership.say(text);
    this.input.value = "";
  }

  private attach(file: File): void {
    const fits = file.size > 0 && file.size <= maxFileSize;
    setText(this.hint, fits ? "" : file.size === 0 ? "That file is empty." : `Files may have up to ${size(maxFileSize)}.`);
    if (fits) void this.membership.sendFile(file);
  }

  private render(): void {
    const { lines, state } = this.membership;
    this.input.disabled = state !== "member";
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    const there = new Set(lines.map((l) => l.id));
    for (const [id, { row }] of this.rows) {
      if (there.has(id)) continue;
      row.remove();
      this.rows.delete(id);
    }
    for (const line of lines) {
      const known = this.rows.get(line.id);
      if (known) {
        if (known.state) setText(known.state, stateOf(line));
        continue;
      }
      const made = this.row(line);
      this.rows.set(line.id, made);
      this.list.append(made.row);
      if (line.connId !== "") this.heard++;
    }
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
    this.count();
  }

  private count(): void {
    if (this.heard === 0) return;
    if (!this.open) this.badge((this.unseen += this.heard));
    this.heard = 0;
  }

  private row(line: Line): { row: HTMLElement; state: HTMLElement | null } {
    const time = el("time", {}, line.at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
    const person = this.membership.member(line.connId);
    const conflict = !!person && needsTag(person) && el("span", { class: "tag", title: "Fingerprint: the name could be taken for somebody else's" }, person.fingerprint);
    const who = el("p", { class: "who" }, el("strong", { dir: "auto" }, line.connId === "" ? "You" : line.name || "Guest"), " ", conflict, conflict && " ", time);
    if (!line.file) return { row: el("li", { class: line.connId === "" ? "own" : "" }, who, el("p", { class: "text", dir: "auto" }, line.text)), state: null };
    const state = el("span", { class: "quiet" }, stateOf(line));
    const label = el("span", { class: "file-name", dir: "auto" }, line.file.name);
    const body = line.connId === ""
      ? el("p", { class: "file" }, icon("clip"), label, " ", state)
      : el("p", { class: "file" }, on(el("button", { type: "button", class: "button small", "aria-label": `Save ${line.file.name}` }, icon("clip"), label), "click", () => void this.membership.openFile(line)), " ", state);
    return { row: el("li", { class: line.connId === "" ? "own" : "" }, who, body), state };
  }
}

const failures: Readonly<Record<string, string>> = {
  limit: "no space for it now: try again later",
  files_busy: "too many transfers: try again in a moment",
  file_gone: "no longer kept",
  damaged: "damaged on the way: not saved",
};

function stateOf({ file, connId }: Line): string {
  if (!file) return "";
  const share = file.size > 0 ? Math.round((100 * file.done) / file.size) : 0;
  switch (file.state) {
    case "offered":
      return size(file.size);
    case "working":
      return `${share} %`;
    case "done":
      return connId === "" ? "sent" : "saved";
    case "failed":
      return failures[file.why ?? ""] ?? "failed";
  }
}

function size(bytes: number): string {
  return bytes < 1024 * 1024 ? `${Math.max(1, Math.round(bytes / 1024))} kB` : `${(bytes / 1024 / 1024).toFixed(bytes < 10 * 1024 * 1024 ? 1 : 0)} MB`;
}
