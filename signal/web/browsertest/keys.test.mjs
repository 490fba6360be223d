// Who does not hold the secret gets nothing.

import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { after, before, test } from "node:test";
import { launch } from "./browsers.mjs";
import { linkPublicKey, newSecret, roomId, roomLink } from "./link.mjs";
import { enter, inbound, sleep, waitForPicture, waitForSlot } from "./room.mjs";
import { startSotto } from "./server.mjs";

let server, chromium;

before(async () => {
  server = await startSotto();
  chromium = await launch("chromium");
});
after(async () => {
  await chromium?.close();
  assert.equal(await server?.stop(), 0, "sotto dev must end cleanly");
});

test("a page with another secret refuses the link by itself", async () => {
  const link = new URL(roomLink(server.page, newSecret(), { autojoin: 1 }));
  link.hash = newSecret().toString("base64url");
  const page = await chromium.open(link.href);
  await page.until(() => document.querySelector("[data-problem=link_mismatch]") !== null, null, "the refusal");
  assert.equal(await page.run(() => window.__sotto.remoteSdp()), "", "it must not have negotiated anything");
  await page.close();
});

test("a client without the secret is refused at connect", async (t) => {
  const secret = newSecret();
  const own = generateKeyPairSync("ed25519");
  const jwk = own.publicKey.export({ format: "jwk" });
  const connId = randomBytes(16);
  const host = new URL(server.page).host;

  // Two ways to lie: a key that is not the room's, and a signature that the room's key did not make.
  const lies = {
    not_admitted: (nonce) => sign(null, Buffer.concat([Buffer.from(`sotto-connect/1${host}`), nonce, connId]), own.privateKey),
    bad_signature: () => randomBytes(64),
  };
  for (const [code, lie] of Object.entries(lies)) {
    await t.test(code, async () => {
      const page = await chromium.open(`${server.page}/`);
      const pub = code === "bad_signature" ? linkPublicKey(secret).toString("base64url") : jwk.x;
      const reply = await page.run(() => new Promise((resolve) => {
        const ws = (window.testSocket = new WebSocket(`ws://${location.host}/ws`, "sotto.v1"));
        ws.onmessage = (e) => resolve(JSON.parse(e.data));
      }));
      assert.equal(reply.type, "hello");
      const signature = lie(Buffer.from(reply.nonce, "base64url"));
      const answer = await page.run((message) => new Promise((resolve) => {
        const seen = [];
        window.testSocket.onmessage = (e) => seen.push(JSON.parse(e.data));
        window.testSocket.onclose = () => resolve(seen);
        window.testSocket.send(JSON.stringify(message));
      }), {
        type: "connect", id: 1, room: roomId(secret), conn_id: connId.toString("base64url"),
        link_pub: pub, link_sig: signature.toString("base64url"), client: "test",
      });
      assert.deepEqual(answer.map((m) => m.code), [code], "one error, then the connection is closed");
      await page.close();
    });
  }
});

test("a wrong media key receives packets and decodes nothing", async () => {
  const secret = newSecret();
  const publisher = await enter(chromium, server, secret);
  const right = await enter(chromium, server, secret);
  const wrong = await enter(chromium, server, secret, { wrong_media_key: 1 });

  const seen = await waitForSlot(right, publisher.connId, "camera");
  await waitForPicture(right, seen);
  for (const source of ["camera", "mic"]) {
    const mid = await waitForSlot(wrong, publisher.connId, source);
    await wrong.until(async (mid) => {
      const all = await window.__sotto.stats();
      return (all.find((s) => s.type === "inbound-rtp" && s.mid === mid)?.packetsReceived ?? 0) > 20;
    }, mid, `packets of ${source}`);
  }
  await sleep(2000);
  const video = await inbound(wrong, await waitForSlot(wrong, publisher.connId, "camera"));
  assert.equal(video.framesDecoded ?? 0, 0);
  const audio = await inbound(wrong, await waitForSlot(wrong, publisher.connId, "mic"));
  assert.equal(audio.totalAudioEnergy ?? 0, 0, "ciphertext was played");
  await wrong.until((id) => window.__sotto.tiles().some((x) => x.connId === id && x.state === "mismatch"), publisher.connId, "the state on the tile");
});
