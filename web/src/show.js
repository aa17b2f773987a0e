// The loop: whatever has changed, source, alpha, pair, the newest of it is painted and drawn.

import { Pace, fit } from "./pace.js";
import { Painter } from "./painter.js";

/** @typedef {import("./sources.js").Still | import("./sources.js").Moving} Source */
/** @typedef {{width: number, height: number, rate: number, moves: boolean}} Report */

const STILL_SIDE = { wasm: 640, webgpu: 1280 }; // of the square as large as a still picture, pixels
const SETTLED = 250; // milliseconds without a change until a still is painted at its full size

export class Show {
  alpha = 0;
  swap = false;
  showsMask = false;
  compares = false;
  holdsSize = false; // while recording: encoders want one size
  pace = new Pace();
  /** @type {Source | null} */
  source = null;
  /** @type {Painter | null} */
  painter = null;

  #canvas;
  #pen;
  #report;
  #fail;
  /** @type {ImageBitmap | null} */
  #painted = null;
  /** @type {ImageBitmap | null} */
  #mask = null;
  /** @type {Source | null} */
  #maskOf = null; // the source that the mask is of
  /** @type {Source | null} */
  #sent = null; // the still that the painter holds
  #finding = false;
  #restUntil = 0;
  #last = 0; // when the last frame was drawn
  #rate = 0;
  #wanted = 0;
  /** @type {() => void} */
  #wake = () => {};
  #fullAt = 0;
  #timer = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {(report: Report) => void} report called after each picture
   * @param {(error: Error) => void} fail
   */
  constructor(canvas, report, fail) {
    this.#canvas = canvas;
    this.#pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.#report = report;
    this.#fail = fail;
    this.#go();
  }

  /**
   * Paint moving pictures at one size from now on, whatever the speed.
   * @param {number} side of the square as large as a picture, pixels
   */
  fix(side) {
    this.pace.side = side;
    this.holdsSize = true;
  }

  /**
   * Show something else; the source before is ended.
   * @param {Source} source
   */
  watch(source) {
    this.source?.end();
    this.source = source;
    this.#rate = 0;
    this.touch();
  }

  /**
   * Paint by other networks; those before are ended.
   * @param {Painter} painter
   */
  paintBy(painter) {
    this.painter?.end();
    this.painter = painter;
    this.#maskOf = this.#sent = null;
    this.touch();
  }

  /**
   * Something has changed: paint again.
   * @param {boolean} more there is more to come: a still is painted quickly now, and well later
   */
  touch(more = false) {
    if (more) {
      this.#fullAt = performance.now() + SETTLED;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.touch(), SETTLED + 1);
    }
    this.#wanted++;
    this.#wake();
  }

  /** Draw what there is again: compare or mask have changed. */
  draw() {
    if (!this.#painted || !this.source) return;
    const { width, height } = this.#painted;
    const pen = this.#pen;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      [this.#canvas.width, this.#canvas.height] = [width, height];
    }
    pen.drawImage(this.compares ? this.source.original : this.#painted, 0, 0, width, height);
    if (this.showsMask && this.#mask && !this.compares) {
      pen.globalCompositeOperation = "multiply";
      pen.drawImage(this.#mask, 0, 0, width, height);
      pen.globalCompositeOperation = "source-over";
    }
  }

  async #go() {
    for (let done = 0; ; ) {
      if (done === this.#wanted) {
        await /** @type {Promise<void>} */ (new Promise((resolve) => (this.#wake = resolve)));
      }
      done = this.#wanted;
      const { source, painter } = this;
      if (!source || !painter) continue;
      try {
        await this.#paint(source, painter);
      } catch (error) {
        // A source or a painter that has been left may fail as it likes.
        if (source !== this.source || painter !== this.painter) continue;
        this.#fail(error instanceof Error ? error : new Error(String(error)));
      }
    }
  }

  /** @param {Source} source @param {Painter} painter */
  async #paint(source, painter) {
    const began = performance.now();
    const full = this.#fullSize(source, painter);
    const first = this.#maskOf !== source;
    if (first) await this.#find(source, painter, source.moves ? this.#quickSize(source) : full);
    else if (source.moves && !this.#finding && began > this.#restUntil) {
      this.#find(source, painter, this.#quickSize(source)).catch(() => {}); // the next paint tells
    }
    const quick = source.moves || began < this.#fullAt;
    const [width, height] = quick ? this.#quickSize(source) : full;
    const frame = source.moves || this.#sent !== source ? await source.frame() : null;
    const { alpha, swap } = this;
    const painted = await painter.paint(frame, { width, height, alpha, swap });
    if (source !== this.source || painter !== this.painter) return painted.close();
    this.#sent = source;
    this.#painted?.close();
    this.#painted = painted;
    this.draw();
    if (quick && !first && !this.holdsSize) this.pace.took(performance.now() - began);
    this.#tell(source, width, height);
  }

  /** @param {Source} source @param {Painter} painter @param {[number, number]} size */
  async #find(source, painter, [width, height]) {
    this.#finding = true;
    const began = performance.now();
    try {
      const mask = await painter.find(await source.frame(), width, height);
      if (source !== this.source || painter !== this.painter) return mask.close();
      await painter.follow(mask);
      this.#mask?.close();
      this.#mask = mask;
      this.#maskOf = source;
      const now = performance.now();
      this.#restUntil = now + painter.cores.rest * (now - began);
    } finally {
      this.#finding = false;
    }
  }

  /** @param {Source} source @returns {[number, number]} */
  #quickSize(source) {
    return this.pace.size(source.width, source.height);
  }

  /** @param {Source} source @param {Painter} painter @returns {[number, number]} */
  #fullSize(source, painter) {
    return fit(source.width, source.height, STILL_SIDE[painter.provider]);
  }

  /** @param {Source} source @param {number} width @param {number} height */
  #tell(source, width, height) {
    const now = performance.now();
    const rate = 1000 / (now - this.#last);
    this.#rate = this.#rate ? this.#rate + 0.1 * (rate - this.#rate) : rate;
    this.#last = now;
    this.#report({ width, height, rate: this.#rate, moves: source.moves });
  }
}
