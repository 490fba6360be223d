// Files, codes and application messages against the vectors of the Go packages.

import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeApp, encodeApp } from "../src/app.ts";
import { groupCode, personCode, show } from "../src/codes.ts";
import { emoji } from "../src/emoji.ts";
import { utf8, type Bytes } from "../src/encoding.ts";
import { chunkSize, openFile, sealFile } from "../src/file.ts";
import { Files } from "../src/files.ts";
import type { AppMessage, FromWorker } from "../src/messages.ts";
import { hex, toHex, vectors } from "./fixtures.ts";

interface SafetyVectors {
  emoji: { symbol: string; name: string }[];
  group_codes: { epoch_authenticator: string; group_id: string; code: string; digits: string }[];
  person_codes: { fingerprints: [string, string]; code: string; digits: string }[];
}

const sha256 = async (b: BufferSource): Promise<Bytes> => new Uint8Array(await crypto.subtle.digest("SHA-256", b));
const quiet = (): void => undefined;

test("codes are those of package safety", async () => {
  const v = vectors<SafetyVectors>("safety.json");
  assert.deepEqual(emoji, v.emoji);
  for (const c of v.group_codes) {
    const code = await groupCode(hex(c.epoch_authenticator), hex(c.group_id));
    assert.equal(toHex(code), c.code);
    assert.equal(show(code).digits, c.digits);
    assert.deepEqual(show(code).words, [...hex(c.code).subarray(0, 12)].map((b) => v.emoji[b]!.name));
  }
  for (const c of v.person_codes) {
    const [a, b] = c.fingerprints.map(hex) as [Bytes, Bytes];
    assert.equal(toHex(await personCode(a, b)), c.code);
    assert.equal(toHex(await personCode(b, a)), c.code);
    assert.equal(show(hex(c.code)).digits, c.digits);
  }
  assert.equal(show(new Uint8Array(16)).digits, "00000 00000 00000 00000 00000 00000");
});

test("files of package file open, changed ones do not", async () => {
  const list = vectors<{ key: string; size: number; first: number; sealed?: string; sha256: string }[]>("file.json");
  for (const v of list) {
    if (v.sealed === undefined) continue;
    const sealed = hex(v.sealed);
    const fileKey = { key: hex(v.key), hash: hex(v.sha256), size: v.size };
    const plain = await openFile(new Blob([sealed]), fileKey, quiet);
    assert.ok(plain, `size ${v.size}`);
    const bytes = new Uint8Array(await plain.arrayBuffer());
    assert.equal(bytes.length, v.size);
    if (v.size > 0) assert.equal(bytes[0], v.first);
    sealed[sealed.length - 1]! ^= 1;
    assert.equal(await openFile(new Blob([sealed]), fileKey, quiet), null);
    // The same change with the hash that fits it: the chunk does not open.
    assert.equal(await openFile(new Blob([sealed]), { ...fileKey, hash: await sha256(sealed) }, quiet), null);
  }
});

test("31: chunks that were swapped, left out or cut off do not open", async () => {
  const original = crypto.getRandomValues(new Uint8Array(chunkSize));
  const plain = new Blob([original, original, original.subarray(0, 1000)]);
  const told: number[] = [];
  const { sealed, fileKey } = await sealFile(plain, (done) => told.push(done));
  assert.deepEqual(told, [65536, 131072, 132072]);
  const back = await openFile(sealed, fileKey, quiet);
  assert.equal(back?.type, "application/octet-stream");
  assert.deepEqual(new Uint8Array(await back.arrayBuffer()), new Uint8Array(await plain.arrayBuffer()));

  const b = new Uint8Array(await sealed.arrayBuffer());
  const step = chunkSize + 16;
  const [one, two, three] = [b.slice(0, step), b.slice(step, 2 * step), b.slice(2 * step)];
  for (const [parts, size] of [
    [[two, one, three], fileKey.size],
    [[one, three], fileKey.size - chunkSize],
    [[one, two], 2 * chunkSize],
    [[one, two], fileKey.size],
  ] as [Bytes[], number][]) {
    const blob = new Blob(parts);
    const forged = { ...fileKey, size, hash: await sha256(await blob.arrayBuffer()) };
    assert.equal(await openFile(blob, forged, quiet), null);
  }
});

test("a file's key goes from worker to worker, never to a page", async () => {
  const posted: FromWorker[] = [];
  const sender = new Files((m) => posted.push(m));
  const receiver = new Files((m) => posted.push(m));
  await sender.seal("f1", new Blob(["minutes"]));
  const sealed = posted.find((m) => m.type === "file_sealed")!.file;
  const share: AppMessage = { kind: "file", body: { id: "f1", name: "minutes.txt", path: `/blob/${"a".repeat(26)}`, size: 7 } };
  assert.equal(encodeApp(share, null), null, "a file that was never sealed");
  const message = encodeApp(share, sender.sealed("f1"))!;
  const decoded = decodeApp(message.kind, message.body)!;
  assert.deepEqual(decoded.message, share);
  await receiver.open("alice", "f1", sealed);
  receiver.receive("alice", "f1", decoded.file!);
  // A second message of the same id changes nothing.
  receiver.receive("alice", "f1", { ...decoded.file!, key: new Uint8Array(32) });
  await receiver.open("alice", "f1", sealed);
  await receiver.open("alice", "f1", new Blob(["something else"]));
  assert.deepEqual(posted.filter((m) => m.type === "file_failed").map((m) => m.why), ["unknown_file", "damaged"]);
  const opened = posted.find((m) => m.type === "file_opened")!;
  assert.equal(await opened.file.text(), "minutes");
});

test("application messages of the wrong shape are refused", () => {
  const decode = (kind: number, body: unknown) => decodeApp(kind, utf8(typeof body === "string" ? body : JSON.stringify(body)));
  assert.deepEqual(decode(4, { id: "a-1", text: "hello\n𝄞", more: 1 })?.message, { kind: "chat", body: { id: "a-1", text: "hello\n𝄞" } });
  assert.deepEqual(decode(4, '{"id":"a","text":"x"}   ')?.message.body, { id: "a", text: "x" });
  assert.deepEqual(decode(5, { emoji: "👍🏽" })?.message.body, { emoji: "👍🏽" });
  assert.deepEqual(decode(6, { raised: true })?.message.body, { raised: true });
  assert.equal(decode(99, { anything: 1 }), null);
  const file = { id: "f", name: "a.txt", path: `/blob/${"a".repeat(26)}`, size: 1, key: "A".repeat(43), hash: "A".repeat(43) };
  assert.ok(decode(7, file));
  for (const [kind, body] of [
    [4, "{"], [4, "null"], [4, { id: "a" }], [4, { id: "a", text: "" }], [4, { id: "a".repeat(65), text: "x" }],
    [4, { id: "a b", text: "x" }], [4, { id: "a", text: "x".repeat(4001) }], [4, { id: "a", text: "\u0000" }], [4, { id: 1, text: "x" }],
    [5, { emoji: "ok" }], [5, { emoji: "1" }], [5, { emoji: "👍".repeat(9) }], [5, { emoji: "<b>👍" }], [5, {}],
    [6, { raised: 1 }], [6, {}],
    [7, { ...file, name: "../a" }], [7, { ...file, name: "a\u202etxt.exe" }], [7, { ...file, path: "/assets/x" }], [7, { ...file, path: "//evil.example/aaaaaaaaaaaaaaaaaaaaaa" }],
    [7, { ...file, size: -1 }], [7, { ...file, size: 2 ** 40 }], [7, { ...file, key: "A" }], [7, { ...file, hash: undefined }],
  ] as [number, unknown][]) {
    assert.equal(decode(kind, body), undefined, JSON.stringify(body));
  }
});
