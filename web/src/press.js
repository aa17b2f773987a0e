// Toggle buttons (aria-pressed).

/**
 * @param {HTMLElement} button
 * @param {boolean} on
 */
export function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

/**
 * @param {HTMLElement} button
 * @returns {boolean} whether it is pressed now
 */
export function toggle(button) {
  const on = button.getAttribute("aria-pressed") !== "true";
  press(button, on);
  return on;
}
