// Line icons on a 24 x 24 grid.

const paths = {
  mic: ["M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3z", "M5.5 11.5a6.5 6.5 0 0 0 13 0", "M12 18v3"],
  micOff: ["M15 9.5V6a3 3 0 0 0-5.8-1", "M9 9v3a3 3 0 0 0 4.6 2.5", "M5.5 11.5a6.5 6.5 0 0 0 10.6 5", "M18.5 11.5c0 .9-.2 1.8-.5 2.6", "M12 18v3", "M4 3l16 18"],
  camera: ["M4.5 6.5h9a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2z", "M15.5 10.5 21.5 7v10l-6-3.5"],
  cameraOff: ["M10 6.5h3.5a2 2 0 0 1 2 2v3", "M15.5 10.5 21.5 7v10l-4-2.3", "M15.3 16.4a2 2 0 0 1-1.8 1.1h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2h.5", "M3 3l18 18"],
  leave: ["M14 4.5H7a2 2 0 0 0-2 2v11a2 2 0 0 0 2 2h7", "M10.5 12H21", "M17.5 8.5 21 12l-3.5 3.5"],
  link: ["M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1", "M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1"],
  lock: ["M6.5 10.5h11a1.5 1.5 0 0 1 1.5 1.5v6.5a1.5 1.5 0 0 1-1.5 1.5h-11A1.5 1.5 0 0 1 5 18.5V12a1.5 1.5 0 0 1 1.5-1.5z", "M8 10.5V8a4 4 0 0 1 8 0v2.5"],
  key: ["M8 11.5a4 4 0 1 0 0 8 4 4 0 0 0 0-8z", "M11 12.7 19.5 4.2", "M16 7.7l2.8 2.8"],
  pin: ["M9 3.5h6", "M10 3.5v6l-3 4h10l-3-4v-6", "M12 13.5V21"],
  grid: ["M4 5h7v6H4z", "M13 5h7v6h-7z", "M4 13h7v6H4z", "M13 13h7v6h-7z"],
  speaker: ["M3.5 5h12v14h-12z", "M18 5h2.5v4H18z", "M18 11h2.5v4H18z", "M18 17h2.5v2H18z"],
  chart: ["M4 20V4", "M4 20h16", "M8 16v-4", "M12 16V8", "M16 16v-6"],
  help: ["M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17z", "M9.7 9.5a2.3 2.3 0 1 1 3.4 2c-.7.4-1.1.8-1.1 1.7", "M12 16v.2"],
  screen: ["M3.5 5h17v11h-17z", "M8.5 20h7", "M12 16v4", "M12 13.5v-5.5", "M9.5 10 12 7.5l2.5 2.5"],
  screenOff: ["M3.5 5h17v11h-17z", "M8.5 20h7", "M12 16v4", "M9.8 8.3l4.4 4.4", "M14.2 8.3l-4.4 4.4"],
  chat: ["M4.5 5h15a1.5 1.5 0 0 1 1.5 1.5v9a1.5 1.5 0 0 1-1.5 1.5H11l-4.5 3.5V17h-2A1.5 1.5 0 0 1 3 15.5v-9A1.5 1.5 0 0 1 4.5 5z"],
  people: ["M9 4.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z", "M2.5 19.5a6.5 6.5 0 0 1 13 0", "M15.5 4.9a3.5 3.5 0 0 1 0 6.2", "M18 14.2a6.5 6.5 0 0 1 3.5 5.3"],
  hand: ["M7 12V6.5a1.5 1.5 0 0 1 3 0V11", "M10 10.5V4.5a1.5 1.5 0 0 1 3 0v6", "M13 10.5V5.5a1.5 1.5 0 0 1 3 0V12", "M16 10.5V8.5a1.5 1.5 0 0 1 3 0v5.5a7 7 0 0 1-7 7c-3 0-4.4-1.3-6-4l-2.2-3.8a1.4 1.4 0 0 1 2.4-1.5L7 13.5"],
  clip: ["M8.5 12.5 14 7a2.6 2.6 0 0 1 3.7 3.7l-7.4 7.4a4.3 4.3 0 0 1-6.1-6.1L11.5 4.7"],
  close: ["M6 6l12 12", "M18 6 6 18"],
  alert: ["M12 4 2.8 19.5h18.4z", "M12 10v4.5", "M12 17v.2"],
} as const;

export type IconName = keyof typeof paths;

const svg = "http://www.w3.org/2000/svg";

/** icon is decoration: the text beside it, or the label of its button, says what it means. */
export function icon(name: IconName): SVGSVGElement {
  const element = document.createElementNS(svg, "svg");
  element.setAttribute("viewBox", "0 0 24 24");
  element.setAttribute("class", "icon");
  element.setAttribute("aria-hidden", "true");
  for (const d of paths[name]) {
    const path = document.createElementNS(svg, "path");
    path.setAttribute("d", d);
    element.append(path);
  }
  return element;
}

/** hairpin is the musical sign for growing quieter, and the mark of this page. */
export function hairpin(): SVGSVGElement {
  const element = document.createElementNS(svg, "svg");
  element.setAttribute("viewBox", "0 0 120 24");
  element.setAttribute("preserveAspectRatio", "none");
  element.setAttribute("class", "hairpin");
  element.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg, "path");
  path.setAttribute("d", "M0 3 120 12 0 21");
  element.append(path);
  return element;
}
