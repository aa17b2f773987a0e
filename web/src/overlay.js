// The mask as a translucent color over the picture: its alpha is the mask.

const COLOR = [255, 40, 90]; // red, green, blue

/**
 * @param {HTMLCanvasElement} canvas takes the mask's size
 * @param {import("./mask.js").Mask} mask
 */
export function drawOverlay(canvas, mask) {
  const { width, height, gray } = mask;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const image = new ImageData(width, height);
  for (let i = 0; i < gray.length; i++) {
    const j = 4 * i;
    [image.data[j], image.data[j + 1], image.data[j + 2]] = COLOR;
    image.data[j + 3] = gray[i];
  }
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}
