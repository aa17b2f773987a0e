// Draws what is shown: the photograph, the painting laid over it, the mask.

import { Weights } from "./weights.js";

/** @typedef {ImageBitmap | VideoFrame} Frame */
/** @typedef {import("./sources.js").Still | import("./sources.js").Moving} Source */

export class View {
  showsMask = false;
  compares = false;
  /** @type {import("./weights.js").Shares} */
  shares = { strength: 1, foreground: 1, background: 1 };
  /** @type {ImageBitmap | null} */
  mask = null;
  /** @type {(drawn: HTMLCanvasElement) => void} */
  onDraw = () => {}; // called with each painting

  #canvas;
  #pen;
  /** @type {Source | null} */
  #source = null;
  /** @type {ImageBitmap | null} */
  #painted = null;
  /** @type {Frame | null} */
  #photo = null; // the frame of the painting; null for stills
  #weights = new Weights();
  #layer = document.createElement("canvas");
  #layerPen = /** @type {CanvasRenderingContext2D} */ (this.#layer.getContext("2d"));

  /** @param {HTMLCanvasElement} canvas in an element of its own, which gets the picture's shape */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  }

  /** Whether the painting of the source is there. */
  get isPainted() {
    return Boolean(this.#painted);
  }

  /**
   * Show a source as it is, until it is painted.
   * @param {Source} source
   * @param {[number, number]} size of the first painting
   */
  begin(source, size) {
    this.#painted?.close();
    this.#painted = null;
    this.#source = source;
    this.#resize(source, size);
    this.draw();
  }

  /**
   * Show a painting.
   * @param {ImageBitmap} painted
   * @param {Frame | null} photo what was painted, if the source moves
   */
  show(painted, photo) {
    this.#painted?.close();
    this.#photo?.close();
    [this.#painted, this.#photo] = [painted, photo];
    if (this.#source) this.#resize(this.#source, [painted.width, painted.height]);
    this.draw();
  }

  /** Let go of the source; the last picture stays visible. */
  end() {
    this.#photo?.close();
    this.#photo = this.#source = null;
  }

  /** Draw again after a change of the view. */
  draw() {
    const source = this.#source;
    if (!source) return;
    const { width, height } = this.#canvas;
    const pen = this.#pen;
    pen.imageSmoothingQuality = "high";
    if (this.compares || !this.#painted) pen.drawImage(source.original, 0, 0, width, height);
    else this.#blend(this.#photo ?? source.original, this.#painted);
    if (!this.#painted) return;
    if (this.showsMask && this.mask && !this.compares) {
      pen.globalCompositeOperation = "multiply";
      pen.drawImage(this.mask, 0, 0, width, height);
      pen.globalCompositeOperation = "source-over";
    }
    this.onDraw(this.#canvas);
  }

  /** Lay the painting over the photograph. @param {CanvasImageSource} photo @param {ImageBitmap} painted */
  #blend(photo, painted) {
    const { width, height } = this.#canvas;
    const pen = this.#pen;
    const { strength, foreground, background } = this.shares;
    const even = foreground === background || !this.mask;
    if (!even || strength * foreground < 1) pen.drawImage(photo, 0, 0, width, height);
    if (even) {
      pen.globalAlpha = strength * foreground;
      pen.drawImage(painted, 0, 0, width, height);
      pen.globalAlpha = 1;
    } else pen.drawImage(this.#cutOut(painted), 0, 0);
  }

  /** The painting, transparent where the photograph is to be seen. @param {ImageBitmap} painted */
  #cutOut(painted) {
    const { width, height } = this.#canvas;
    [this.#layer.width, this.#layer.height] = [width, height]; // also clears it
    const pen = this.#layerPen;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(painted, 0, 0, width, height);
    pen.globalCompositeOperation = "destination-in";
    const mask = /** @type {ImageBitmap} */ (this.mask);
    pen.drawImage(this.#weights.draw(mask, this.shares), 0, 0, width, height);
    pen.globalCompositeOperation = "source-over";
    return this.#layer;
  }

  /** Stills keep their size; moving pictures have that of the painting. @param {Source} source @param {[number, number]} size */
  #resize(source, size) {
    const [width, height] = source.moves ? size : [source.width, source.height];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      [this.#canvas.width, this.#canvas.height] = [width, height];
    }
    this.#canvas.parentElement?.style.setProperty("--aspect", String(source.width / source.height));
  }
}
