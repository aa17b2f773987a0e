// Pictures as canvases hold them, RGBA bytes row by row, and as the networks take them: planes of
// 32-bit floats in [0, 1], (3, height, width) or (1, height, width).

/**
 * Red, green and blue planes, one after the other.
 * @param {Uint8ClampedArray} rgba
 * @returns {Float32Array}
 */
export function toPlanes(rgba) {
  const count = rgba.length / 4;
  const planes = new Float32Array(3 * count);
  for (let i = 0, j = 0; i < count; i++, j += 4) {
    planes[i] = rgba[j] / 255;
    planes[i + count] = rgba[j + 1] / 255;
    planes[i + 2 * count] = rgba[j + 2] / 255;
  }
  return planes;
}

/**
 * Opaque pixels of one plane (grey) or three.
 * @param {Float32Array} planes
 * @param {number} count pixels
 * @returns {Uint8ClampedArray<ArrayBuffer>}
 */
export function toRgba(planes, count) {
  const [green, blue] = planes.length === count ? [0, 0] : [count, 2 * count];
  const rgba = new Uint8ClampedArray(4 * count);
  for (let i = 0, j = 0; i < count; i++, j += 4) {
    rgba[j] = 255 * planes[i]; // rounded and kept in range by the array
    rgba[j + 1] = 255 * planes[i + green];
    rgba[j + 2] = 255 * planes[i + blue];
    rgba[j + 3] = 255;
  }
  return rgba;
}

/**
 * Where the first style goes: the red plane of a grey mask.
 * @param {Uint8ClampedArray} rgba
 * @param {boolean} swap the other way round
 * @returns {Float32Array}
 */
export function toMask(rgba, swap) {
  const mask = new Float32Array(rgba.length / 4);
  for (let i = 0; i < mask.length; i++) {
    mask[i] = swap ? 1 - rgba[4 * i] / 255 : rgba[4 * i] / 255;
  }
  return mask;
}
