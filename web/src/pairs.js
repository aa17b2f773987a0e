// The strip of pairs: each shows its two paintings, and the user's picture once that is painted.

/** @typedef {import("./painter.js").Pair} Pair */

/**
 * @param {HTMLElement} strip
 * @param {Pair[]} pairs the first one is chosen
 * @param {(pair: Pair) => void} choose
 * @returns {(pair: Pair, painted: HTMLCanvasElement | null) => void} puts the painted picture over the
 * paintings; null takes it away
 */
export function offer(strip, pairs, choose) {
  /** @type {Map<Pair, HTMLElement>} */
  const labels = new Map();
  for (const pair of pairs) {
    const label = document.createElement("label");
    const both = [pair.foreground, pair.background];
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "pair", value: pair.name });
    radio.checked = pair === pairs[0];
    radio.addEventListener("change", () => choose(pair));
    const paintings = both.map(({ title, artist, picture }) =>
      Object.assign(new Image(), { src: picture, alt: `${title}, ${artist}` }),
    );
    label.title = both.map(({ title, artist }) => `${title}, ${artist}`).join(" and ");
    label.append(radio, ...paintings);
    strip.append(label);
    labels.set(pair, label);
  }
  return (pair, painted) => {
    const label = labels.get(pair);
    const before = label?.querySelector("canvas");
    if (before === painted) return;
    before?.remove();
    painted?.setAttribute("aria-hidden", "true");
    if (painted) label?.append(painted);
  };
}
