// Who is in the room, as signaling says, with the encryption state of each.

import type { GroupMember, PeerState } from "../../../e2ee/js/src/messages.ts";
import type { Peer, ServerMessage, Source } from "./protocol.ts";

export interface Member extends Peer {
  state: PeerState;
  /** What this person wants to be called, "" before that is known. */
  name: string;
  /** The fingerprint, if the name alone could be taken for somebody else's; else "". */
  tag: string;
}

export type RosterChange = { joined?: Member; left?: Member; changed: boolean };

export class Roster {
  private readonly members = new Map<string, Member>();

  /** apply takes a message of the service; other types than those about people change nothing. */
  apply(message: ServerMessage): RosterChange {
    switch (message.type) {
      case "welcome":
        this.members.clear();
        this.meet(message.peers, true);
        return { changed: true };
      case "peer_joined": {
        if (this.members.has(message.connId)) return { changed: false };
        return { joined: this.add({ connId: message.connId, leaf: message.leaf, tracks: [] }), changed: true };
      }
      case "peer_left": {
        const left = this.members.get(message.connId);
        if (!left) return { changed: false };
        this.members.delete(message.connId);
        return { left, changed: true };
      }
      case "peer_tracks": {
        const member = this.members.get(message.connId);
        if (!member) return { changed: false };
        member.tracks = message.tracks;
        return { changed: true };
      }
      default:
        return { changed: false };
    }
  }

  /**
   * meet takes a list of who is here: those known keep what is known of them.
   * complete: who is not in it is gone.
   */
  meet(peers: readonly Peer[], complete: boolean): { joined: Member[]; left: Member[] } {
    const isSame = (m: Member): boolean => peers.some((p) => p.connId === m.connId && p.leaf === m.leaf);
    const left = [...this.members.values()].filter((m) => !isSame(m) && (complete || peers.some((p) => p.connId === m.connId)));
    for (const { connId } of left) this.members.delete(connId);
    const joined: Member[] = [];
    for (const peer of peers) {
      const member = this.members.get(peer.connId);
      if (member) member.tracks = peer.tracks;
      else joined.push(this.add(peer));
    }
    return { joined, left };
  }

  private add(peer: Peer): Member {
    const member: Member = { ...peer, state: "waiting", name: "", tag: "" };
    this.members.set(member.connId, member);
    return member;
  }

  /** setState notes what the worker says; false when nothing changed. */
  setState(connId: string, state: PeerState): boolean {
    const member = this.members.get(connId);
    if (!member || member.state === state) return false;
    member.state = state;
    return true;
  }

  /** setName notes what a person wants to be called; false when nothing changed. */
  setName(connId: string, name: string): boolean {
    const member = this.members.get(connId);
    if (!member || member.name === name) return false;
    member.name = name;
    return true;
  }

  /**
   * setGroup notes who is in the encrypted group, and under which name; false
   * when nothing changed. Frames that do not open are another matter.
   */
  setGroup(group: readonly GroupMember[]): boolean {
    let changed = false;
    for (const member of this.members.values()) {
      const known = group.find((g) => g.connId === member.connId);
      const state = !known ? "waiting" : member.state === "waiting" ? "encrypted" : member.state;
      changed = this.setState(member.connId, state) || changed;
      if (known) changed = this.setName(member.connId, known.name) || changed;
      const tag = known && needsTag(known) ? known.fingerprint : "";
      changed = changed || member.tag !== tag;
      member.tag = tag;
    }
    return changed;
  }

  all(): Member[] {
    return [...this.members.values()].sort((a, b) => a.leaf - b.leaf);
  }

  get size(): number {
    return this.members.size;
  }
}

// What the page calls oneself and those without a name.
const own = /^(you|guest)\b/iu;

/** needsTag says whether a name is no help: another key had it before, or it is a word of the page's own. */
export function needsTag({ name, known }: Pick<GroupMember, "name" | "known">): boolean {
  return known === "name_conflict" || own.test(name.normalize("NFKC").replace(/\p{Default_Ignorable_Code_Point}/gu, ""));
}

/** isHidden says whether the service does not list somebody who is in the group: it could keep a listener from view. */
export function isHidden(members: readonly Peer[], person: { connId: string; self: boolean }): boolean {
  return !person.self && !members.some((m) => m.connId === person.connId);
}

/** headcount counts oneself as well, and who is in the group whether listed or not. */
export function headcount(members: readonly Peer[], group: readonly { connId: string; self: boolean }[]): number {
  return 1 + members.length + group.filter((g) => isHidden(members, g)).length;
}

/** hasLive says whether a person sends this source now. */
export function hasLive(peer: Peer, source: Source): boolean {
  return peer.tracks.some((t) => t.source === source && !t.muted);
}

/** nameOf is what a person wants to be called; those without a name go by their place in the room. */
export function nameOf(member: { leaf: number; name: string }): string {
  return member.name || `Guest ${member.leaf + 1}`;
}

/** labelOf names what one of the person's sources shows. */
export function labelOf(member: { leaf: number; name: string }, source: Source): string {
  return source === "screen" || source === "screen_audio" ? `${nameOf(member)}, screen` : nameOf(member);
}

/** monogramOf is the first letter of the name. */
export function monogramOf(member: { leaf: number; name: string }): string {
  const first = [...new Intl.Segmenter().segment(member.name)][0]?.segment;
  return first?.toLocaleUpperCase() ?? String(member.leaf + 1);
}
