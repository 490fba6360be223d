// Buttons that several screens have.

import { announce, el, on } from "./dom.ts";
import { icon, type IconName } from "./icons.ts";
import type { DeviceKind, LocalMedia } from "./local_media.ts";
import type { Problem } from "./problems.ts";
import type { ScreenShare } from "./screen_share.ts";

const toggles = {
  mic: { face: { on: "mic", off: "micOff" }, key: "M", name: "Microphone", verb: { on: "Mute", off: "Unmute" } },
  camera: { face: { on: "camera", off: "cameraOff" }, key: "V", name: "Camera", verb: { on: "Stop camera", off: "Start camera" } },
} as const;

/** toggle switches a device; render() brings it up to date. Its name says what a click does. */
export function toggle(local: LocalMedia, kind: DeviceKind): { button: HTMLButtonElement; render: () => void } {
  const t = toggles[kind];
  const face = el("span", { class: "face" });
  const caption = el("span", { class: "caption" });
  const button = el("button", { type: "button", class: "control", "data-device": kind, "aria-keyshortcuts": t.key }, face, caption);
  on(button, "click", () => flip(local, kind));
  let shown: boolean | null = null;
  const render = (): void => {
    const isOn = wanted(local, kind);
    if (shown === isOn) return;
    shown = isOn;
    const now = isOn ? "on" : "off";
    face.replaceChildren(icon(t.face[now]));
    caption.textContent = t.verb[now];
    button.title = `${t.verb[now]} (${t.key})`;
    button.classList.toggle("off", !isOn);
  };
  render();
  return { button, render };
}

/** shareButton shares the screen; render() brings it up to date. */
export function shareButton(share: ScreenShare): { button: HTMLButtonElement; render: () => void } {
  const face = el("span", { class: "face" });
  const caption = el("span", { class: "caption" });
  const button = el("button", { type: "button", class: "control", "data-share": "", "aria-keyshortcuts": "P" }, face, caption);
  on(button, "click", () => void share.toggle());
  const render = (): void => {
    const text = share.on ? "Stop sharing" : "Share screen";
    button.title = `${text} (P)`;
    button.classList.toggle("on", share.on);
    if (caption.textContent === text) return;
    caption.textContent = text;
    face.replaceChildren(icon(share.on ? "screenOff" : "screen"));
  };
  render();
  return { button, render };
}

function wanted(local: LocalMedia, kind: DeviceKind): boolean {
  return kind === "mic" ? local.micOn : local.cameraOn;
}

function flip(local: LocalMedia, kind: DeviceKind): void {
  const next = !wanted(local, kind);
  announce(`${toggles[kind].name} ${next ? "on" : "off"}`);
  void local.setOn(kind, next);
}

/** deviceKeys lets M and V switch the devices; the result ends it. */
export function deviceKeys(local: LocalMedia): () => void {
  const end = shortcuts({ m: () => flip(local, "mic"), v: () => flip(local, "camera") });
  const endTalk = pushToTalk(local);
  return () => {
    end();
    endTalk();
  };
}

/** pushToTalk opens a muted microphone while the space bar is held; the result ends it. */
function pushToTalk(local: LocalMedia): () => void {
  let held = false;
  const down = (event: KeyboardEvent): void => {
    const elsewhere = event.target instanceof Element && event.target.closest("input, select, textarea, dialog, button, a") !== null;
    if (event.key !== " " || elsewhere || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (event.repeat || held || wanted(local, "mic")) return;
    held = true;
    void local.setOn("mic", true);
  };
  const up = (event: Event): void => {
    if (!held || (event instanceof KeyboardEvent && event.key !== " ")) return;
    held = false;
    void local.setOn("mic", false);
  };
  addEventListener("keydown", down);
  addEventListener("keyup", up);
  addEventListener("blur", up);
  return () => {
    removeEventListener("keydown", down);
    removeEventListener("keyup", up);
    removeEventListener("blur", up);
  };
}

/** shortcuts runs what a single key stands for, unless a person types or a dialog is open; the result ends it. */
export function shortcuts(keys: Readonly<Record<string, () => void>>): () => void {
  const listener = (event: KeyboardEvent): void => {
    const run = Object.hasOwn(keys, event.key.toLowerCase()) ? keys[event.key.toLowerCase()] : undefined;
    const typing = event.target instanceof Element && event.target.closest("input, select, textarea") !== null;
    if (!run || typing || document.querySelector("dialog[open]") || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    run();
  };
  addEventListener("keydown", listener);
  return () => removeEventListener("keydown", listener);
}

/** closeOnEscape lets Escape close a panel from its fields too, where a person types. */
export function closeOnEscape(panel: HTMLElement, close: () => void): void {
  on(panel, "keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing) return;
    event.stopPropagation();
    close();
  });
}

/** smallButton is an icon with a name, for what is needed less often. */
export function smallButton(name: IconName, title: string, key: string, run: () => void): HTMLButtonElement {
  return on(el("button", { type: "button", class: "small-control", title: `${title} (${key})`, "aria-label": title, "aria-keyshortcuts": key }, icon(name)), "click", run);
}

export interface CopyLink {
  button: HTMLButtonElement;
  /** set replaces the link that is copied. */
  set: (link: string) => void;
}

/** copyLink copies the room's link, and says so in its own label for a moment. */
export function copyLink(link: string, className: string): CopyLink {
  let current = link;
  const caption = el("span", { class: "caption" }, "Copy link");
  const button = el("button", { type: "button", class: className, title: "Copy the link to this room" }, el("span", { class: "face" }, icon("link")), caption);
  let back: number | undefined;
  on(button, "click", () => {
    navigator.clipboard.writeText(current).then(
      () => say("Copied"),
      () => say("Not allowed"),
    );
  });
  const say = (text: string): void => {
    caption.textContent = text;
    announce(text === "Copied" ? "Link copied" : "The browser does not allow copying");
    clearTimeout(back);
    back = setTimeout(() => (caption.textContent = "Copy link"), 2000);
  };
  return { button, set: (next) => (current = next) };
}

/** notice shows a problem inside a screen, with its action if it has one. */
export function notice(problem: Problem, act: { label: string; run: () => void } | null): HTMLElement {
  return el(
    "div",
    { class: "notice", role: "alert", "data-problem": problem.code },
    icon("alert"),
    el("p", {}, el("strong", {}, `${problem.title}.`), " ", problem.text),
    act && on(el("button", { type: "button", class: "button small" }, act.label), "click", act.run),
  );
}

export function wordmark(): HTMLElement {
  return el("a", { class: "wordmark", href: "/", "aria-label": "Sotto, start page" }, "sotto");
}

