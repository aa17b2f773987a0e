// The share of the painting in each pixel, as the alpha of a canvas of the mask's size.

import { readGray } from "./gray.js";

/** @typedef {{strength: number, foreground: number, background: number}} Shares in [0, 1] */

export class Weights {
  #canvas = document.createElement("canvas");
  #pen = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d"));
  /** @type {ImageBitmap | null} */
  #of = null;
  /** @type {Uint8ClampedArray} */
  #gray = new Uint8ClampedArray();

  /**
   * Strength * (mask * foreground + (1 - mask) * background).
   * @param {ImageBitmap} mask
   * @param {Shares} shares
   * @returns {HTMLCanvasElement}
   */
  draw(mask, { strength, foreground, background }) {
    const { width, height } = mask;
    if (this.#of !== mask) {
      this.#gray = readGray(mask).gray;
      this.#of = mask;
      [this.#canvas.width, this.#canvas.height] = [width, height];
    }
    const weights = new Uint8ClampedArray(256);
    for (let gray = 0; gray < 256; gray++) {
      weights[gray] = strength * (gray * foreground + (255 - gray) * background);
    }
    const image = new ImageData(width, height);
    for (let i = 0; i < this.#gray.length; i++) image.data[4 * i + 3] = weights[this.#gray[i]];
    this.#pen.putImageData(image, 0, 0);
    return this.#canvas;
  }
}
