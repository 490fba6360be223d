// The own name, kept for the next call. The service never learns it.

import { cleanName, maxName } from "../../../e2ee/js/src/profile.ts";
import { el, on } from "./dom.ts";

const storageKey = "sotto.name";

export function recallName(): string {
  try {
    return cleanName(localStorage.getItem(storageKey) ?? "");
  } catch {
    return "";
  }
}

function keepName(name: string): void {
  try {
    if (name === "") localStorage.removeItem(storageKey);
    else localStorage.setItem(storageKey, name);
  } catch {
    // Then it holds for this call only.
  }
}

/** nameField asks for a name; done is called with Enter. read() keeps what is in it and gives it. */
export function nameField(done: () => void): { element: HTMLElement; read: () => string } {
  const input = el("input", { id: "name", type: "text", maxlength: String(maxName), autocomplete: "nickname", placeholder: "Guest", value: recallName() });
  on(input, "keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) done();
  });
  return {
    element: el("label", { class: "field", for: "name" }, "Your name", input),
    read: () => {
      const name = cleanName(input.value);
      keepName(name);
      return name;
    },
  };
}
