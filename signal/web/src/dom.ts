// Building elements. Text becomes text nodes, never markup.

export type Child = Node | string | null | false;

export interface Attributes {
  class?: string;
  id?: string;
  type?: string;
  role?: string;
  scope?: string;
  title?: string;
  for?: string;
  href?: string;
  tabindex?: string;
  disabled?: boolean;
  hidden?: boolean;
  readonly?: boolean;
  value?: string;
  placeholder?: string;
  maxlength?: string;
  rows?: string;
  dir?: "auto";
  autocomplete?: string;
  [data: `data-${string}`]: string;
  [aria: `aria-${string}`]: string;
}

export function el<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes) as [string, string | boolean | undefined][]) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((c) => c !== null && c !== false));
  return element;
}

/** on adds a listener and returns the element, so that it fits into a tree of el(). */
export function on<E extends HTMLElement, K extends keyof HTMLElementEventMap>(element: E, type: K, listener: (event: HTMLElementEventMap[K]) => void): E {
  element.addEventListener(type, listener);
  return element;
}

/** setText writes only what differs: screen readers repeat what is written again. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

// Long enough to be taken up, gone before anybody reads the page from end to end.
const announcedMs = 5000;

/** announce says something to a screen reader without showing it. Each text is a line of its own: none replaces one that was not spoken yet. */
export function announce(text: string): void {
  const line = el("p", {}, text);
  document.getElementById("announce")?.append(line);
  setTimeout(() => line.remove(), announcedMs);
}
