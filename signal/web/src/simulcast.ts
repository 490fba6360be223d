// What camera and screen send. The camera: three layers, lowest first.

export interface Layer {
  rid: "q" | "h" | "f";
  scaleResolutionDownBy: number;
  maxBitrate: number; // bits per second
  active: boolean;
  /** Spatial and temporal layers of this encoding (W3C webrtc-svc). */
  scalabilityMode: string;
}

const rids = ["q", "h", "f"] as const;

/** How the layers of the camera are made: an encoding for each, layers inside one encoding, or one alone. */
export type Layering = "simulcast" | "svc" | "single";

// Chromium decides by the area of the picture how many layers it sends, always
// the first ones of the list: three from 960x540, two from 480x270, else one.
// With fixed factors of 4, 2, 1 a smaller camera would lose its best layer.
const threeLayers = 960 * 540;
const twoLayers = 480 * 270;

// Without a mode Chromium makes one VP9 stream with spatial layers of several encodings.
const temporalLayers = "L1T3";
const spatialLayers = ["L1T3", "L2T3_KEY", "L3T3_KEY"] as const;
const topBitrate = 1_700_000;
const bitrates = [150_000, 500_000, topBitrate] as const;

/** As many layers as there can be. */
export const everyLayer = 3;

/**
 * layersFor gives the layers for a picture of this size; 0 x 0 means not known
 * yet. Of its layers only those that are wanted are active, the lowest first.
 * Layers inside one encoding keep their sizes when the upper ones are left out.
 */
export function layersFor(width: number, height: number, layering: Layering = "simulcast", wanted = everyLayer): Layer[] {
  const area = width * height;
  const most = area === 0 || area >= threeLayers ? 3 : area >= twoLayers ? 2 : 1;
  if (layering === "simulcast") {
    return rids.map((rid, index) => ({
      rid,
      scaleResolutionDownBy: Math.max(1, 2 ** (most - 1 - index)),
      maxBitrate: bitrates[index] ?? topBitrate,
      active: index < Math.min(most, wanted),
      scalabilityMode: temporalLayers,
    }));
  }
  // How many layers Chromium makes of a small picture is its own choice.
  const count = layering === "svc" && most === everyLayer ? Math.min(Math.max(wanted, 1), everyLayer) : everyLayer;
  return rids.map((rid, index) => ({
    rid,
    scaleResolutionDownBy: 2 ** (everyLayer - count),
    maxBitrate: bitrates[count - 1] ?? topBitrate,
    active: index === 0 && wanted > 0,
    scalabilityMode: layering === "svc" ? (spatialLayers[count - 1] ?? temporalLayers) : temporalLayers,
  }));
}

/**
 * layeringFor chooses what works best in a codec. VP9 tells every receiver the
 * spatial layers of a stream. Firefox sends three VP9 encodings of one size.
 *
 * Those of AV1 stand in the dependency descriptor, which Firefox does not take,
 * and publishers are not told whether everybody does: L3T3_KEY would be no gain.
 * Chromium 156 on two cores, 960x540 at 15 frames a second:
 *
 *                                         simulcast    L3T3_KEY
 *   fake camera        cores              0.34, 0.38   0.43, 0.47
 *                      sent, kbit/s       767          671
 *                      48 layer switches  no freeze    no freeze
 *   texture that uses  cores              0.52-0.55    0.55-0.65
 *   all bits it gets   sent, kbit/s       2000-2200    1240-1290
 *                      top layer of that  1500-1700    880-920, of 1700 allowed
 *                      84 layer switches  9 freezes,   15 freezes,
 *                                         2.9 s        5.5 s
 */
export function layeringFor(codec: string, isFirefox: boolean): Layering {
  if (codec !== "vp9") return "simulcast";
  return isFirefox ? "single" : "svc";
}

// One layer: a screen that is scaled down cannot be read. Frames are few while
// nothing moves, and the rest is for what does. With temporal layers the service
// can take frames away where a path is narrow, and leave the picture as sharp.
export const screenEncodings: (RTCRtpEncodingParameters & { scalabilityMode: string })[] = [
  { maxBitrate: 2_500_000, maxFramerate: 30, scalabilityMode: temporalLayers },
];
