// The room link: https://HOST/r/<room>#<secret>. The secret goes from the
// address bar to the tab's session storage and to the worker, nowhere else.
//
// A service that asks for join tokens takes a personal one behind the secret:
// #<secret>&token=<jwt>. It stands in the fragment so that no HTTP log has it.

/** What a tab remembers until it leaves, so that a reload comes back. */
export interface TabRoom {
  roomId: string;
  secret: string;
  /** How often the room's link was replaced, as far as this tab knows. */
  gen: number;
  /** The join token; "" without. */
  token: string;
  /** Set while in the call: a reload then joins again with the same devices on. */
  call: { mic: boolean; camera: boolean; throwaway: boolean } | null;
}

const storageKey = "sotto.room";
const roomPath = /^\/r\/([a-z2-7]{26})$/;
const secretText = /^[A-Za-z0-9_-]{43}$/;
const tokenText = /^[A-Za-z0-9_.-]{1,4096}$/;

/** roomOfPath gives the room id of /r/<room>, or null. */
export function roomOfPath(path: string): string | null {
  return roomPath.exec(path)?.[1] ?? null;
}

/** secretOfFragment gives the secret of "#…", or null when it has not the right form. */
export function secretOfFragment(fragment: string): string | null {
  const [text = ""] = parts(fragment);
  return secretText.test(text) ? text : null;
}

/** tokenOfFragment gives the join token behind the secret, or "". */
export function tokenOfFragment(fragment: string): string {
  const text = parts(fragment).find((part) => part.startsWith("token="))?.slice("token=".length) ?? "";
  return tokenText.test(text) ? text : "";
}

function parts(fragment: string): string[] {
  return (fragment.startsWith("#") ? fragment.slice(1) : fragment).split("&");
}

export function roomLink(origin: string, roomId: string, secret: string): string {
  return `${origin}/r/${roomId}#${secret}`;
}

/** remember and recall do without storage where the browser forbids it. */
export function remember(room: TabRoom): void {
  try {
    sessionStorage.setItem(storageKey, JSON.stringify(room));
  } catch {
    // Only a reload is lost by that.
  }
}

export function recall(roomId: string): TabRoom | null {
  try {
    const stored = JSON.parse(sessionStorage.getItem(storageKey) ?? "null") as Partial<TabRoom> | null;
    if (stored?.roomId !== roomId || typeof stored.secret !== "string" || !secretText.test(stored.secret)) return null;
    const token = typeof stored.token === "string" && tokenText.test(stored.token) ? stored.token : "";
    const gen = typeof stored.gen === "number" && Number.isInteger(stored.gen) && stored.gen >= 0 && stored.gen <= 0xffff ? stored.gen : 0;
    return { roomId, secret: stored.secret, gen, token, call: stored.call ?? null };
  } catch {
    return null;
  }
}

export function forget(): void {
  try {
    sessionStorage.removeItem(storageKey);
  } catch {
    // Nothing was stored then.
  }
}
