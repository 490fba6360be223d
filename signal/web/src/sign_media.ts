// Whether this person's media is signed, kept for the next call.

const storageKey = "sotto.sign";

export function recallSigning(): boolean {
  try {
    return localStorage.getItem(storageKey) === "1";
  } catch {
    return false;
  }
}

export function keepSigning(on: boolean): void {
  try {
    if (on) localStorage.setItem(storageKey, "1");
    else localStorage.removeItem(storageKey);
  } catch {
    // Then it holds for this call only.
  }
}
