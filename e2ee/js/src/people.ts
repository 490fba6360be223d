// Who was met before, by key: trust on first use. A name that another key had
// here is a conflict until the person at this device verifies the new key.

import type { Known } from "./messages.ts";
import type { Store } from "./storage.ts";

export interface Contact {
  /** As seen, the latest last. */
  names: string[];
  verified: boolean;
  /** ms since 1970. */
  firstSeen: number;
  lastSeen: number;
}

const maxContacts = 2000;
const maxNames = 8;

export class People {
  /** What was said of a key under a name stays for the meeting. */
  private readonly said = new Map<string, Known>();

  private constructor(
    private readonly contacts: Map<string, Contact>,
    private readonly store: Store<Contact> | null,
  ) {}

  /** Reads what is stored. write false: nothing of this meeting is kept. */
  static async load(store: Store<Contact>, write: boolean): Promise<People> {
    // Without what was stored everybody is new.
    const stored = await store.all().catch(() => []);
    return new People(new Map(stored), write ? store : null);
  }

  /** Says what is known of a key that calls itself so, and remembers that it was seen. */
  meet(fingerprint: string, name: string, now: number): Known {
    const key = `${fingerprint} ${name}`;
    const said = this.said.get(key);
    if (said) return said;
    const known = this.judge(fingerprint, name);
    this.said.set(key, known);
    this.remember(fingerprint, known === "name_conflict" ? "" : name, now);
    return known;
  }

  /** Says the same of one who only knocks: nobody is known, and no name taken, by that. */
  look(fingerprint: string, name: string): Known {
    return this.said.get(`${fingerprint} ${name}`) ?? this.judge(fingerprint, name);
  }

  private judge(fingerprint: string, name: string): Known {
    const contact = this.contacts.get(fingerprint);
    const sameName = contact !== undefined && (name === "" || contact.names.some((n) => alike(n, name)));
    if (!sameName && name !== "" && this.nameOfAnother(fingerprint, name)) return "name_conflict";
    return contact?.verified ? "verified" : contact ? "known" : "new";
  }

  /** The person at this device says whose key it is, or takes it back. */
  verify(fingerprint: string, name: string, verified: boolean, now: number): void {
    const contact = this.remember(fingerprint, verified ? name : "", now);
    contact.verified = verified;
    for (const key of this.said.keys()) if (key.startsWith(`${fingerprint} `)) this.said.delete(key);
    this.write(fingerprint, contact);
  }

  private nameOfAnother(fingerprint: string, name: string): boolean {
    for (const [other, contact] of this.contacts) {
      if (other !== fingerprint && contact.names.some((n) => alike(n, name))) return true;
    }
    return false;
  }

  private remember(fingerprint: string, name: string, now: number): Contact {
    const contact = this.contacts.get(fingerprint) ?? { names: [], verified: false, firstSeen: now, lastSeen: now };
    contact.lastSeen = now;
    if (name !== "") contact.names = [...contact.names.filter((n) => n !== name), name].slice(-maxNames);
    this.contacts.set(fingerprint, contact);
    this.write(fingerprint, contact);
    this.bound(fingerprint);
    return contact;
  }

  /** Forgets the one seen longest ago; one who was verified only for another who is. */
  private bound(newest: string): void {
    if (this.contacts.size <= maxContacts) return;
    const rank = ([fingerprint, c]: [string, Contact]): number => (c.verified ? 2 : 0) + (fingerprint === newest ? 1 : 0);
    const [oldest] = [...this.contacts].sort((a, b) => rank(a) - rank(b) || a[1].lastSeen - b[1].lastSeen);
    if (!oldest) return;
    this.contacts.delete(oldest[0]);
    this.store?.delete(oldest[0]).catch(() => undefined);
  }

  private write(fingerprint: string, contact: Contact): void {
    // Not written: the next meeting knows less.
    this.store?.put(fingerprint, contact).catch(() => undefined);
  }
}

/** Names that people would take for one. */
export function alike(a: string, b: string): boolean {
  return fold(a) === fold(b);
}

// Joiners, variation selectors, fillers: they belong into some names, but two
// names that differ in them look the same.
const unseen = /\p{Default_Ignorable_Code_Point}/gu;

function fold(name: string): string {
  return name.normalize("NFKC").replace(unseen, "").toLowerCase().replace(/\s+/g, " ").trim();
}
