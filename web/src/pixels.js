// Conversion between RGBA bytes of a canvas and planes of 32-bit floats in [0, 1],
// (3, height, width) or (1, height, width), of the networks.

/**
 * Convert RGBA bytes to red, green and blue planes.
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
 * Convert one plane (gray) or three planes to opaque RGBA bytes.
 * @param {Float32Array} planes
 * @param {number} count pixels
 * @returns {Uint8ClampedArray<ArrayBuffer>}
 */
export function toRgba(planes, count) {
  const [green, blue] = planes.length === count ? [0, 0] : [count, 2 * count];
  const rgba = new Uint8ClampedArray(4 * count);
  for (let i = 0, j = 0; i < count; i++, j += 4) {
    rgba[j] = 255 * planes[i]; // rounded and clamped by Uint8ClampedArray
    rgba[j + 1] = 255 * planes[i + green];
    rgba[j + 2] = 255 * planes[i + blue];
    rgba[j + 3] = 255;
  }
  return rgba;
}

/**
 * Convert a gray RGBA mask to a plane, 1 = foreground style.
 * @param {Uint8ClampedArray} rgba
 * @param {boolean} swap invert the mask
 * @returns {Float32Array}
 */
export function toMask(rgba, swap) {
  const mask = new Float32Array(rgba.length / 4);
  for (let i = 0; i < mask.length; i++) {
    mask[i] = swap ? 1 - rgba[4 * i] / 255 : rgba[4 * i] / 255;
  }
  return mask;
}
