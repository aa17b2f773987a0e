// Show the original while a button is held.

import { press } from "./press.js";

/**
 * Hold by touch, mouse or key. A click without a pointer (screen readers) toggles instead.
 * @param {HTMLElement} button
 * @param {import("./view.js").View} view
 */
export function holdToCompare(button, view) {
  const compare = (/** @type {boolean} */ on) => {
    if (view.compares === on) return;
    view.compares = on;
    press(button, on);
    view.draw();
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
    if (detail === 0) compare(!view.compares);
  });
}
