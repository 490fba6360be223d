// What runs inside the browsers of an adaptation test. The functions go to the browser as text: they see only what is in them.

/**
 * sampleStatistics keeps the statistics of the page's media in the page, every 100 ms until the end: sent out over the
 * link under test they would come late.
 */
export function sampleStatistics() {
  const samples = (window.adaptationSamples = []);
  const pick = (from, names) => Object.fromEntries(names.map((name) => [name, from?.[name] ?? 0]));
  const sample = async () => {
    const at = Date.now();
    if (window.__sotto?.connectionState() !== "connected") return;
    const all = await window.__sotto.stats();
    const inbound = (kind) => all.filter((s) => s.type === "inbound-rtp" && s.kind === kind).sort((a, b) => b.bytesReceived - a.bytesReceived)[0];
    samples.push({
      at,
      video: pick(inbound("video"), [
        "frameHeight", "framesDecoded", "keyFramesDecoded", "freezeCount", "totalFreezesDuration", "bytesReceived",
        "packetsLost", "nackCount", "pliCount", "framesDropped",
      ]),
      audio: pick(inbound("audio"), ["totalSamplesReceived", "concealedSamples", "silentConcealedSamples"]),
      layers: all.filter((s) => s.type === "outbound-rtp" && s.kind === "video").map((s) => ({
        rid: s.rid ?? "", limited: s.qualityLimitationReason ?? "",
        ...pick(s, ["frameHeight", "framesPerSecond", "bytesSent", "headerBytesSent", "packetsSent", "keyFramesEncoded", "pliCount"]),
      })),
      sound: pick(all.find((s) => s.type === "outbound-rtp" && s.kind === "audio"), ["bytesSent", "headerBytesSent", "packetsSent"]),
      outgoing: all.find((s) => s.type === "candidate-pair" && s.nominated)?.availableOutgoingBitrate ?? 0,
    });
  };
  setInterval(() => void sample(), 100);
}

/**
 * texturedCamera makes every camera a drawn one, in which a texture turns and changes: the encoder spends all it may on every
 * layer, as for somebody who walks before a bookshelf. The picture of the browser's own fake camera takes half of that.
 */
export function texturedCamera() {
  const draw = (width, height, fps) => {
    const texture = new OffscreenCanvas(width / 4, height / 4);
    const noise = texture.getContext("2d").createImageData(texture.width, texture.height);
    noise.data.forEach((_, i, data) => { data[i] = i % 4 === 3 ? 255 : 64 + Math.random() * 128; });
    texture.getContext("2d").putImageData(noise, 0, 0);
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    let frame = 0;
    const next = () => {
      frame++;
      // A part of the picture stands still, as a room does.
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.drawImage(texture, 0, 0, width, height);
      context.translate(width / 2 + (width / 4) * Math.sin(frame / 40), height / 2);
      context.rotate(frame / 25);
      context.drawImage(texture, -width / 4, -height / 4, width / 2, height / 2);
    };
    next();
    const timer = setInterval(next, 1000 / fps);
    const track = canvas.captureStream(fps).getVideoTracks()[0];
    track.getSettings = () => ({ width, height, frameRate: fps });
    const stop = track.stop.bind(track);
    track.stop = () => {
      clearInterval(timer);
      stop();
    };
    return track;
  };
  const open = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
  if (!open) return; // about:blank is no secure place
  navigator.mediaDevices.getUserMedia = async ({ audio, video }) => {
    const stream = audio ? await open({ audio }) : new MediaStream();
    if (video) stream.addTrack(draw(video.width?.exact ?? 1280, video.height?.exact ?? 720, video.frameRate ?? 20));
    return stream;
  };
}
