// Controls of the look: strength, also for each region, and the size of the strokes.

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);

/**
 * @param {import("./view.js").View} view
 * @param {import("./show.js").Show} show
 */
export function listenToLook(view, show) {
  for (const name of /** @type {const} */ (["strength", "foreground", "background"])) {
    const slider = /** @type {HTMLInputElement} */ ($(name));
    slider.value = "1"; // some browsers restore the previous value
    slider.addEventListener("input", () => {
      view.shares[name] = Number(slider.value);
      $(`${name}-value`).textContent = view.shares[name].toFixed(2);
      view.draw(); // what is painted stays
    });
  }
  for (const radio of /** @type {NodeListOf<HTMLInputElement>} */ (document.getElementsByName("stroke"))) {
    radio.checked = radio.value === show.stroke;
    radio.addEventListener("change", () => {
      show.stroke = /** @type {import("./pace.js").Stroke} */ (radio.value);
      show.touch();
    });
  }
}
