import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseExtensions, orderCodecs, sendCodec } from "./codecs.ts";

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

test("the codec to send is the first of its section", () => {
  const answer = [
    "v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", "a=rtpmap:111 opus/48000/2",
    "m=video 9 UDP/TLS/RTP/SAVPF 45 46 96 97", "a=mid:1", "a=rtpmap:45 AV1/90000", "a=rtpmap:96 VP8/90000",
    "m=video 0 UDP/TLS/RTP/SAVPF 96", "a=mid:11", "",
  ].join("\r\n");
  assert.equal(sendCodec(answer, "1"), "av1");
  assert.equal(sendCodec(answer, "0"), "opus");
  assert.equal(sendCodec(answer, "11"), "");
  assert.equal(sendCodec(answer, "2"), "");
});
