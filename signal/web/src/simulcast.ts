// What camera and screen send. The camera: three VP8 layers, lowest first.

export interface Layer {
  rid: "q" | "h" | "f";
  scaleResolutionDownBy: number;
  maxBitrate: number; // bits per second
  active: boolean;
}

// Chromium decides by the area of the picture how many layers it sends, always
// the first ones of the list: three from 960x540, two from 480x270, else one.
// With fixed factors of 4, 2, 1 a smaller camera would lose its best layer.
const threeLayers = 960 * 540;
const twoLayers = 480 * 270;

/** layersFor gives the layers for a picture of this size; 0 x 0 means not known yet. */
export function layersFor(width: number, height: number): Layer[] {
  const area = width * height;
  const count = area === 0 || area >= threeLayers ? 3 : area >= twoLayers ? 2 : 1;
  const scale = (index: number): number => Math.max(1, 2 ** (count - 1 - index));
  return [
    { rid: "q", scaleResolutionDownBy: scale(0), maxBitrate: 150_000, active: true },
    { rid: "h", scaleResolutionDownBy: scale(1), maxBitrate: 500_000, active: count > 1 },
    { rid: "f", scaleResolutionDownBy: scale(2), maxBitrate: 1_700_000, active: count > 2 },
  ];
}

// One layer: a screen that is scaled down cannot be read. Frames are few while
// nothing moves, and the rest is for what does.
export const screenEncodings: RTCRtpEncodingParameters[] = [{ maxBitrate: 2_500_000, maxFramerate: 30 }];
