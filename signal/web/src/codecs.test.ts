import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseExtensions, orderCodecs } from "./codecs.ts";

const list = (...names: string[]): { mimeType: string }[] => names.map((mimeType) => ({ mimeType }));
const names = (codecs: { mimeType: string }[]): string[] => codecs.map((c) => c.mimeType);

test("VP8 comes first, and nothing is lost where nothing may be", () => {
  const offered = list("video/H264", "video/VP9", "video/rtx", "video/AV1", "video/ulpfec", "video/VP8");
  const ordered = names(orderCodecs("video", offered, false));
  assert.deepEqual(ordered, ["video/VP8", "video/VP9", "video/AV1", "video/H264", "video/rtx", "video/ulpfec"]);
});

test("a short offer has what may pass the encryption, and repair", () => {
  assert.deepEqual(names(orderCodecs("video", list("video/H264", "video/rtx", "video/VP8", "video/flexfec-03"), true)), ["video/VP8", "video/rtx"]);
  assert.deepEqual(names(orderCodecs("audio", list("audio/red", "audio/opus", "audio/PCMU"), true)), ["audio/opus"]);
});

test("the audio level is not offered; the dependency descriptor is, for video", () => {
  const offered = [
    { uri: "urn:ietf:params:rtp-hdrext:ssrc-audio-level", direction: "sendrecv" as const },
    { uri: "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension", direction: "stopped" as const },
    { uri: "urn:ietf:params:rtp-hdrext:sdes:mid", direction: "sendrecv" as const },
  ];
  assert.deepEqual(chooseExtensions("video", offered).map((e) => e.direction), ["stopped", "sendrecv", "sendrecv"]);
  assert.deepEqual(chooseExtensions("audio", offered).map((e) => e.direction), ["stopped", "stopped", "sendrecv"]);
});
