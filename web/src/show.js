// The render loop: paints and draws the latest source, alpha and pair after every change.

import { Pace, fit } from "./pace.js";

/** @typedef {import("./painter.js").Painter} Painter */
/** @typedef {import("./sources.js").Still | import("./sources.js").Moving} Source */
/** @typedef {{width: number, height: number, rate: number, moves: boolean}} Report */

const STILL_SIDE = { wasm: 640, webgpu: 1280 }; // square root of the number of pixels of a still picture
const MASK_SIDE = 512; // the mask network is less accurate on larger pictures
const SETTLED = 250; // milliseconds without a change before a still is painted at full size

export class Show {
  alpha = 0;
  swap = false;
  showsMask = false;
  compares = false;
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
  #maskOf = null; // the source of the mask
  /** @type {Source | null} */
  #sent = null; // the still that the painter holds
  #fixed = false;
  #finding = false;
  #restUntil = 0;
  #last = 0; // when the last frame was drawn
  #interval = 0; // smoothed milliseconds between frames
  #wanted = 0;
  /** @type {() => void} */
  #wake = () => {};
  #fullAt = 0;
  #timer = 0;

  /** @type {(drawn: HTMLCanvasElement) => void} */
  onDraw = () => {};

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
   * Paint video at a fixed size from now on, regardless of speed.
   * @param {number} side square root of the number of pixels
   */
  fix(side) {
    this.pace.side = side;
    this.#fixed = true;
  }

  /**
   * Show a new source; ends the previous one.
   * @param {Source} source
   */
  watch(source) {
    this.leave();
    this.source = source;
    this.touch();
  }

  /** End the source; its last picture stays visible. */
  leave() {
    this.source?.end();
    this.source = null;
    this.pace.reset();
    this.#last = this.#interval = 0;
  }

  /**
   * Use a new painter; ends the previous one.
   * @param {Painter} painter
   */
  paintBy(painter) {
    this.painter?.end();
    this.painter = painter;
    this.#maskOf = this.#sent = null;
    this.touch();
  }

  /**
   * Paint again after a change.
   * @param {boolean} more more changes follow: a still is painted small now and at full size later
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

  /** Redraw the last picture after a change of the view. */
  draw() {
    if (!this.#painted) return;
    const { width, height } = this.#painted;
    const pen = this.#pen;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      [this.#canvas.width, this.#canvas.height] = [width, height];
    }
    const original = this.compares && this.source?.original;
    pen.drawImage(original || this.#painted, 0, 0, width, height);
    if (this.showsMask && this.#mask && !this.compares) {
      pen.globalCompositeOperation = "multiply";
      pen.drawImage(this.#mask, 0, 0, width, height);
      pen.globalCompositeOperation = "source-over";
    }
    this.onDraw(this.#canvas);
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
        this.#settle(error, source, painter);
      }
    }
  }

  /** @param {unknown} error @param {Source} source @param {Painter} painter */
  #settle(error, source, painter) {
    // Errors of a replaced source or painter do not matter.
    if (source !== this.source || painter !== this.painter) return;
    this.#fail(error instanceof Error ? error : new Error(String(error)));
  }

  /** @param {Source} source @param {Painter} painter */
  async #paint(source, painter) {
    const began = performance.now();
    const first = this.#maskOf !== source;
    if (first) await this.#find(source, painter);
    else if (source.moves && !this.#finding && began > this.#restUntil) {
      this.#find(source, painter).catch((error) => this.#settle(error, source, painter));
    }
    const quick = source.moves || began < this.#fullAt;
    const side = quick ? this.pace.side : STILL_SIDE[painter.provider];
    const [width, height] = fit(source.width, source.height, side);
    const news = source.moves || this.#sent !== source;
    const frame = news ? await source.frame() : null;
    if (source !== this.source || painter !== this.painter || (news && !frame)) return frame?.close();
    const { alpha, swap } = this;
    const painted = await painter.paint(frame, { width, height, alpha, swap });
    if (source !== this.source || painter !== this.painter) return painted.close();
    this.#sent = source;
    this.#painted?.close();
    this.#painted = painted;
    this.draw();
    if (quick && !first && !this.#fixed) {
      this.pace.took(performance.now() - began, Math.sqrt(width * height));
    }
    this.#tell(source, width, height);
  }

  /** @param {Source} source @param {Painter} painter */
  async #find(source, painter) {
    const began = performance.now();
    const side = source.moves ? Math.min(this.pace.side, MASK_SIDE) : MASK_SIDE;
    this.#finding = true;
    try {
      const frame = await source.frame();
      if (!frame || source !== this.source || painter !== this.painter) return frame?.close();
      const mask = await painter.find(frame, ...fit(source.width, source.height, side));
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

  /** @param {Source} source @param {number} width @param {number} height */
  #tell(source, width, height) {
    const now = performance.now();
    const interval = this.#last && now - this.#last;
    this.#interval += (interval - this.#interval) * (this.#interval ? 0.1 : 1);
    this.#last = now;
    const rate = this.#interval && 1000 / this.#interval;
    this.#report({ width, height, rate, moves: source.moves });
  }
}
