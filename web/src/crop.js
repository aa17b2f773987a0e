// The middle of a picture.

const ABOVE = 0.3; // share of what is left out that is above: heads are rather there

/**
 * The largest part of this shape.
 * @param {ImageBitmap} bitmap
 * @param {number} shape width to height
 * @returns {Promise<ImageBitmap>}
 */
export function crop(bitmap, shape) {
  const width = Math.max(1, Math.round(Math.min(bitmap.width, bitmap.height * shape)));
  const height = Math.max(1, Math.round(Math.min(bitmap.height, bitmap.width / shape)));
  const left = Math.round((bitmap.width - width) / 2);
  const top = Math.round((bitmap.height - height) * ABOVE);
  return createImageBitmap(bitmap, left, top, width, height);
}
