// The start page, and the page that a problem leaves behind.

import { wordmark } from "./controls.ts";
import { el, on } from "./dom.ts";
import { hairpin } from "./icons.ts";
import type { Problem } from "./problems.ts";

export function startScreen(newRoom: () => Promise<void>): HTMLElement {
  const button = el("button", { type: "button", class: "button primary" }, "New room");
  on(button, "click", () => {
    button.disabled = true;
    void newRoom().finally(() => (button.disabled = false));
  });
  return el(
    "main",
    { class: "start" },
    el(
      "div",
      { class: "hero" },
      el("p", { class: "brand" }, "sotto"),
      hairpin(),
      el("h1", { tabindex: "-1" }, "What you say stays between\u00a0you."),
      el("p", { class: "lede" }, "Calls that only the people in them can see and hear. Open a room, pass the link on, and talk."),
      button,
    ),
    el(
      "ul",
      { class: "facts" },
      fact("The key is in the link.", "It stands after the #, the part of an address that browsers keep to themselves."),
      fact("The server cannot look.", "Every frame is sealed in your browser and opened in theirs. What lies between only carries it."),
      fact("Nothing to install.", "No account, no third party, nothing kept when the room is empty."),
    ),
  );
}

function fact(title: string, text: string): HTMLElement {
  return el("li", {}, el("strong", {}, title), " ", text);
}

/** messageScreen is a page with one message and one action. */
export function messageScreen(title: string, text: string, act: { label: string; run: () => void } | null, code = ""): HTMLElement {
  return el(
    "main",
    { class: "message", "data-problem": code },
    wordmark(),
    el("h1", { tabindex: "-1" }, title),
    el("p", { class: "lede" }, text),
    act && on(el("button", { type: "button", class: "button primary" }, act.label), "click", act.run),
  );
}

/** problemScreen is the message screen of a problem. */
export function problemScreen(problem: Problem, retry: () => void): HTMLElement {
  const home = { label: "Start page", run: () => location.assign("/") };
  const again = { label: "Try again", run: retry };
  const act = problem.action === "home" ? home : problem.action === "none" ? null : again;
  return messageScreen(problem.title, problem.text, act, problem.code);
}
