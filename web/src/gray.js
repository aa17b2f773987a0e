// Gray pictures, one byte a pixel, from and to bitmaps.

/** @typedef {{width: number, height: number, gray: Uint8ClampedArray}} Gray */

const canvas = document.createElement("canvas");
const pen = /** @type {CanvasRenderingContext2D} */ (
  canvas.getContext("2d", { alpha: false, willReadFrequently: true })
);

/**
 * @param {ImageBitmap} bitmap gray
 * @returns {Gray}
 */
export function readGray(bitmap) {
  const { width, height } = bitmap;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  pen.drawImage(bitmap, 0, 0);
  const rgba = pen.getImageData(0, 0, width, height).data;
  return { width, height, gray: new Uint8ClampedArray(width * height).map((_, i) => rgba[4 * i]) };
}

/**
 * @param {Gray} picture
 * @returns {Promise<ImageBitmap>}
 */
export function toBitmap({ width, height, gray }) {
  const image = new ImageData(width, height);
  for (let i = 0; i < gray.length; i++) image.data.fill(gray[i], 4 * i, 4 * i + 3);
  for (let i = 3; i < image.data.length; i += 4) image.data[i] = 255;
  return createImageBitmap(image);
}
