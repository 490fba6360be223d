// Showing tracks in media elements.

/** showTrack makes a video element play this track, or nothing. */
export function showTrack(video: HTMLVideoElement, track: MediaStreamTrack | null): void {
  const stream = video.srcObject instanceof MediaStream ? video.srcObject : null;
  if ((stream?.getVideoTracks()[0] ?? null) === track) return;
  video.srcObject = track ? new MediaStream([track]) : null;
  if (track) video.play().catch(() => undefined); // taken away again before it started
}

/**
 * AudioOutput plays the audio receivers. Which person is in which of them does
 * not matter here: all are heard.
 */
export class AudioOutput {
  private readonly elements = new Map<MediaStreamTrack, HTMLAudioElement>();
  private readonly blocked: (blocked: boolean) => void;

  /** blocked is called when the browser wants a click before it plays sound, and after one. */
  constructor(blocked: (blocked: boolean) => void) {
    this.blocked = blocked;
  }

  /** show plays exactly these tracks. */
  show(tracks: readonly MediaStreamTrack[]): void {
    for (const [track, element] of this.elements) {
      if (tracks.includes(track)) continue;
      element.srcObject = null;
      this.elements.delete(track);
    }
    for (const track of tracks) {
      if (this.elements.has(track)) continue;
      const element = new Audio();
      element.autoplay = true;
      element.srcObject = new MediaStream([track]);
      this.elements.set(track, element);
      this.play(element);
    }
  }

  /** resume plays what was blocked; call it from a click. */
  resume(): void {
    this.blocked(false);
    for (const element of this.elements.values()) this.play(element);
  }

  private play(element: HTMLAudioElement): void {
    element.play().catch((error: unknown) => {
      if (error instanceof DOMException && error.name === "NotAllowedError") this.blocked(true);
    });
  }
}
