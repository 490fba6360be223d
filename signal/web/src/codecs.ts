// Which codecs and header extensions an offer names, and in which order.

// Frames of any other codec are dropped by the encryption worker anyway.
const videoOrder = ["video/vp8", "video/vp9", "video/av1"];
const audioOrder = ["audio/opus"];
const repair = "video/rtx";

const dependencyDescriptor = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
const audioLevel = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

// Chromium offers the dependency descriptor for receivers only when asked to.
// "stopped" here switches it off.
const dependencyDescriptorDirection: RTCRtpTransceiverDirection = "sendrecv";

/**
 * orderCodecs puts VP8 first, then what else may pass. With `shorten` the rest
 * is left out, which makes an offer of many m-lines much smaller. It is for
 * Chromium only: Firefox fails when payload types disappear from its offer.
 */
export function orderCodecs<C extends { mimeType: string }>(kind: "audio" | "video", codecs: readonly C[], shorten: boolean): C[] {
  const order = kind === "video" ? videoOrder : audioOrder;
  const rank = (c: C): number => {
    const index = order.indexOf(c.mimeType.toLowerCase());
    return index < 0 ? order.length : index;
  };
  const usable = (c: C): boolean => rank(c) < order.length || c.mimeType.toLowerCase() === repair;
  return codecs.filter((c) => !shorten || usable(c)).sort((a, b) => rank(a) - rank(b));
}

/** sendCodec names the codec that an answer puts first in a section, such as "vp8"; "" if there is none. */
export function sendCodec(answer: string, mid: string): string {
  const section = answer.split(/\r?\nm=/).find((s) => s.split(/\r?\n/).includes(`a=mid:${mid}`));
  const type = /^\S+ \d+ \S+ (\d+)/.exec(section ?? "")?.[1]; // video 9 UDP/TLS/RTP/SAVPF 96 97
  const name = type && new RegExp(`^a=rtpmap:${type} ([^/]+)/`, "m").exec(section ?? "")?.[1];
  return name?.toLowerCase() ?? "";
}

export interface HeaderExtension {
  uri: string;
  direction: RTCRtpTransceiverDirection;
}

/**
 * chooseExtensions leaves out the audio level, which would tell the service who
 * speaks, and lets receivers take the dependency descriptor.
 */
export function chooseExtensions(kind: "audio" | "video", extensions: readonly HeaderExtension[]): HeaderExtension[] {
  return extensions.map((e) => {
    if (e.uri === audioLevel) return { ...e, direction: "stopped" };
    if (kind === "video" && e.uri === dependencyDescriptor) return { ...e, direction: dependencyDescriptorDirection };
    return e;
  });
}
