// Application messages: their numbers, and what is acceptable in them. Names are
// not here: they are in the credentials, which the group checks.

import { fromBase64url, toBase64url, utf8, type Bytes } from "./encoding.ts";
import type { FileKey } from "./file.ts";
import type { AppMessage, SharedFile } from "./messages.ts";

export const kindHeartbeat = 2;
export const kindSignatures = 8;
const kinds = { chat: 4, reaction: 5, hand: 6, file: 7 } as const;

/** Largest file, in bytes of plaintext. */
export const maxFile = 64 << 20;

const id = /^[A-Za-z0-9_-]{1,64}$/;
const path = /^\/blob\/[A-Za-z0-9_-]{26}$/;
const maxText = 4000;
const maxEmoji = 32;
const maxFileName = 255;

// Control characters have no meaning in a chat but line feed and tab; lone
// surrogates are no text.
const control = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]|\p{Cs}/u;
// In the name of a file also what turns text around, and what parts of a path are.
const unfitForName = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}/\\]/u;
const emoji = /^[\p{Emoji}\p{Emoji_Component}]+$/u;
const pictograph = /[\p{Extended_Pictographic}\p{Regional_Indicator}\u20e3]/u;

/** The number and the JSON of a message; null if it is not acceptable. */
export function encodeApp(m: AppMessage, file: FileKey | null): { kind: number; body: Bytes } | null {
  const accepted = accept(m.kind, m.body);
  if (!accepted) return null;
  let body: object = accepted.body;
  if (accepted.kind === "file") {
    if (!file || file.size !== accepted.body.size) return null;
    body = { ...body, key: toBase64url(file.key), hash: toBase64url(file.hash) };
  }
  return { kind: kinds[m.kind], body: utf8(JSON.stringify(body)) };
}

/** A message of the given number, with the key of its file. null: of another version; undefined: not acceptable. */
export function decodeApp(kind: number, body: Bytes): { message: AppMessage; file: FileKey | null } | null | undefined {
  const name = (Object.keys(kinds) as (keyof typeof kinds)[]).find((k) => kinds[k] === kind);
  if (!name) return null;
  const object = parseObject(body);
  const message = object && accept(name, object);
  if (!message) return undefined;
  if (message.kind !== "file") return { message, file: null };
  const key = fromBase64url(object.key, 32);
  const hash = fromBase64url(object.hash, 32);
  return key && hash ? { message, file: { key, hash, size: message.body.size } } : undefined;
}

export function parseObject(body: Bytes): Record<string, unknown> | null {
  try {
    const object: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
    return typeof object === "object" && object !== null ? (object as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** Copies what belongs to a message; null if anything is not as it has to be. */
function accept(kind: AppMessage["kind"], from: object): AppMessage | null {
  const body = from as Record<string, unknown>;
  switch (kind) {
    case "chat":
      return matches(body.id, id) && isText(body.text, maxText, control)
        ? { kind, body: { id: body.id, text: body.text } } : null;
    case "reaction":
      return isText(body.emoji, maxEmoji, control) && emoji.test(body.emoji) && pictograph.test(body.emoji) && utf8(body.emoji).length <= maxEmoji
        ? { kind, body: { emoji: body.emoji } } : null;
    case "hand":
      return typeof body.raised === "boolean" ? { kind, body: { raised: body.raised } } : null;
    case "file":
      return isFile(body) ? { kind, body: { id: body.id, name: body.name, path: body.path, size: body.size } } : null;
  }
}

function isFile(body: object): body is SharedFile {
  const b = body as Record<string, unknown>;
  return matches(b.id, id) && matches(b.path, path) && isText(b.name, maxFileName, unfitForName) &&
    Number.isInteger(b.size) && (b.size as number) >= 0 && (b.size as number) <= maxFile;
}

function matches(value: unknown, pattern: RegExp): value is string {
  return typeof value === "string" && pattern.test(value);
}

function isText(value: unknown, longest: number, unfit: RegExp): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= longest && !unfit.test(value);
}
