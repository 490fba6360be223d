// Before joining: see oneself, choose devices, then decide.

import { copyLink, deviceKeys, notice, toggle, wordmark } from "./controls.ts";
import { el, on } from "./dom.ts";
import { icon } from "./icons.ts";
import { barOf, MicMeter } from "./level_meter.ts";
import type { DeviceKind, LocalMedia } from "./local_media.ts";
import { nameField } from "./name.ts";
import { showTrack } from "./video.ts";

export interface Prejoin {
  element: HTMLElement;
  dispose: () => void;
}

/** prejoinScreen shows the devices; isNew: the room was made just now, so its link must be passed on. */
export function prejoinScreen(local: LocalMedia, link: string, isNew: boolean, enter: (name: string, throwaway: boolean) => void): Prejoin {
  const video = el("video", { class: "mirrored", "aria-label": "Your camera" });
  video.muted = true;
  video.playsInline = true;
  const empty = el("p", { class: "preview-empty" });
  const mic = toggle(local, "mic");
  const camera = toggle(local, "camera");
  const bar = el("span");
  const level = el("div", { class: "meter", "aria-hidden": "true" }, bar);
  const meter = new MicMeter((heard) => bar.style.setProperty("--level", String(barOf(heard))));
  const notices = el("div", { class: "notices" });
  const pickers = el("div", { class: "pickers" });
  const throwaway = el("input", { type: "checkbox", id: "throwaway" });
  const join = (): void => enter(name.read(), throwaway.checked);
  const name = nameField(join);
  const joinButton = on(el("button", { type: "button", class: "button primary wide" }, "Join"), "click", join);

  const render = (): void => {
    showTrack(video, local.camera);
    video.hidden = local.camera === null;
    empty.textContent = local.camera ? "" : local.cameraOn ? "Waiting for the camera" : "Camera off";
    mic.render();
    meter.listen(local.live("mic") ? local.mic : null);
    level.hidden = !local.live("mic");
    camera.render();
    joinButton.textContent = local.mic === null && local.camera === null ? "Join to listen" : "Join";
    notices.replaceChildren(
      ...(["camera", "mic"] as const).flatMap((kind) => {
        const problem = local.problems[kind];
        return problem ? [notice(problem, { label: "Try again", run: () => void local.setOn(kind, true) })] : [];
      }),
    );
    void renderPickers(pickers, local);
  };

  const devicesChanged = (): void => void renderPickers(pickers, local);
  navigator.mediaDevices.addEventListener("devicechange", devicesChanged);
  const unsubscribe = local.subscribe(render);
  const endKeys = deviceKeys(local);
  render();

  const element = el(
    "main",
    { class: "prejoin" },
    el("header", {}, wordmark()),
    el("section", { class: "preview", "aria-label": "Preview" }, video, empty, el("div", { class: "controls" }, mic.button, camera.button), level),
    el(
      "section",
      { class: "ready" },
      el("h1", { tabindex: "-1" }, isNew ? "Your room is open" : "Come in"),
      el(
        "p",
        { class: "lede" },
        isNew
          ? "Whoever has the link can join. Pass it on as you would pass on a key."
          : "The people in this room will see and hear you as soon as you join.",
      ),
      isNew && copyLink(link, "button wide").button,
      name.element,
      el("label", { class: "check quiet" }, throwaway, el("span", {}, "Do not let others recognise me next time")),
      joinButton,
      notices,
      pickers,
      el("p", { class: "fine" }, icon("lock"), "End-to-end encrypted. There is no other mode."),
    ),
  );
  return {
    element,
    dispose: () => {
      unsubscribe();
      endKeys();
      meter.listen(null);
      navigator.mediaDevices.removeEventListener("devicechange", devicesChanged);
      video.srcObject = null;
    },
  };
}

const names: Record<DeviceKind, string> = { camera: "Camera", mic: "Microphone" };

/** renderPickers offers a choice where there is one. */
async function renderPickers(parent: HTMLElement, local: LocalMedia): Promise<void> {
  const pickers: HTMLElement[] = [];
  for (const kind of ["camera", "mic"] as const) {
    const devices = await local.devices(kind);
    if (devices.length < 2 || devices.every((d) => d.label === "")) continue;
    const current = local[kind]?.getSettings().deviceId;
    const select = el("select", { id: `choose-${kind}` });
    for (const device of devices) {
      const option = el("option", { value: device.deviceId }, device.label);
      option.selected = device.deviceId === current;
      select.append(option);
    }
    on(select, "change", () => void local.choose(kind, select.value));
    pickers.push(el("label", { for: select.id }, names[kind], select));
  }
  // Leave an open list alone: it would close under the person's hand.
  if (!parent.contains(document.activeElement)) parent.replaceChildren(...pickers);
}
