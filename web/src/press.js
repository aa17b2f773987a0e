// Toggle buttons (aria-pressed), and buttons that do nothing now but keep the focus (aria-disabled).

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

/**
 * @param {HTMLElement} button
 * @param {boolean} off
 */
export function disable(button, off) {
  button.setAttribute("aria-disabled", String(off));
}

/**
 * @param {HTMLElement} button
 * @returns {boolean}
 */
export function isDisabled(button) {
  return button.getAttribute("aria-disabled") === "true";
}
