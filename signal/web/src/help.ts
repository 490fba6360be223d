// What the keys do.

import { el, on } from "./dom.ts";
import { icon } from "./icons.ts";

const keys: readonly (readonly [string, string])[] = [
  ["M", "Microphone on or off"],
  ["Space", "Speak while held, when muted"],
  ["V", "Camera on or off"],
  ["P", "Share the screen, or stop"],
  ["L", "Grid or speaker view"],
  ["1 – 9", "Make that tile large, or small again"],
  ["Esc", "Close a panel; all tiles alike"],
  ["C", "Chat"],
  ["U", "People and safety codes"],
  ["H", "Raise or lower the hand"],
  ["S", "Statistics"],
  ["?", "This list"],
];

/** helpDialog is put into the page once; showModal() opens it. */
export function helpDialog(): HTMLDialogElement {
  const dialog = el(
    "dialog",
    { class: "help", "aria-label": "Keys" },
    el("h2", {}, "Keys"),
    el("dl", {}, ...keys.map(([key, text]) => el("div", {}, el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)))),
  );
  const close = on(el("button", { type: "button", class: "small-control", "aria-label": "Close" }, icon("close")), "click", () => dialog.close());
  dialog.prepend(close);
  // A click beside the dialog, on what lies behind it.
  on(dialog, "click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  return dialog;
}
