// Show the original while a button is held.

import { press } from "./press.js";

/**
 * Hold by touch, mouse or key. A click without a pointer (screen readers) toggles instead.
 * @param {HTMLElement} button
 * @param {import("./show.js").Show} show
 */
export function holdToCompare(button, show) {
  const compare = (/** @type {boolean} */ on) => {
    if (show.compares === on) return;
    show.compares = on;
    press(button, on);
    show.draw();
  };
  const byKey = (/** @type {boolean} */ on) => (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault(); // prevents the click
    compare(on);
  };
  button.addEventListener("pointerdown", ({ pointerId, isTrusted }) => {
    if (isTrusted) button.setPointerCapture(pointerId);
    compare(true);
  });
  for (const end of ["pointerup", "pointercancel", "blur"]) button.addEventListener(end, () => compare(false));
  button.addEventListener("keydown", byKey(true));
  button.addEventListener("keyup", byKey(false));
  button.addEventListener("click", ({ detail }) => {
    if (detail === 0) compare(!show.compares);
  });
}
