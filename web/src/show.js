// The render loop: paints the latest source, mask, alpha and pair after every change.

import { readGray, toBitmap } from "./gray.js";
import { Mask } from "./mask.js";
import { Pace, STROKES, fit, sideOf } from "./pace.js";

/** @typedef {ImageBitmap | VideoFrame} Frame */
/** @typedef {import("./painter.js").Painter} Painter */
/** @typedef {import("./sources.js").Still | import("./sources.js").Moving} Source */
/** @typedef {{width: number, height: number, rate: number, moves: boolean, quick: boolean}} Report */

const STILL_SIDE = { wasm: 640, webgpu: 1280 }; // square root of the number of pixels of a still picture
const MASK_SIDE = 512; // the mask network is less accurate on larger pictures
const SETTLED = 250; // milliseconds without a change before a still is painted at full size

export class Show {
  alpha = 0;
  swap = false;
  /** @type {import("./pace.js").Stroke} */
  stroke = "fine";
  pace = new Pace();
  /** @type {Source | null} */
  source = null;
  /** @type {Painter | null} */
  painter = null;
  /** @type {Mask | null} */
  mask = null; // of a still: it can be corrected

  #view;
  #report;
  #busy;
  #fail;
  /** @type {Source | null} */
  #maskOf = null; // the source of the mask
  #maskBy = ""; // what predicted it
  #version = 0; // of the mask that the painter follows
  /** @type {Painter | null} */
  #follower = null; // the painter that has the mask
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

  /** @type {(mask: Mask | null) => void} */
  onMask = () => {}; // called when the mask of a still is there, or gone

  /**
   * @param {import("./view.js").View} view
   * @param {(report: Report) => void} report called after each picture
   * @param {() => void} busy called before a picture that may take its time
   * @param {(error: Error) => void} fail
   */
  constructor(view, report, busy, fail) {
    this.#view = view;
    this.#report = report;
    this.#busy = busy;
    this.#fail = fail;
    this.#go();
  }

  /**
   * Paint video at a fixed size from now on, regardless of speed.
   * @param {number} side square root of the number of pixels
   */
  fix(side) {
    [this.pace.side, this.pace.least] = [side, 0];
    this.#fixed = true;
  }

  /**
   * Show a new source, as it is until it is painted; ends the previous one.
   * @param {Source} source
   */
  watch(source) {
    this.leave();
    this.source = source;
    this.#view.begin(source, this.#size(source, true));
    this.#busy();
    this.touch();
  }

  /** End the source; its last picture stays visible. */
  leave() {
    this.#view.end();
    this.source?.end();
    this.source = this.#maskOf = null;
    this.#setMask(null);
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
    this.#sent = this.#follower = null;
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
    } else if (this.source && !this.source.moves) this.#busy();
    this.#wanted++;
    this.#wake();
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
    if (this.#stale(source, painter)) return;
    this.#fail(error instanceof Error ? error : new Error(String(error)));
  }

  /** @param {Source} source @param {Painter} painter */
  #stale(source, painter) {
    return source !== this.source || painter !== this.painter;
  }

  /** @param {Source} source @param {boolean} quick @returns {[number, number]} width and height to paint */
  #size({ width, height }, quick) {
    const most = STROKES[this.stroke];
    if (quick || !this.painter) return this.pace.size(width, height, most);
    return fit(width, height, Math.min(STILL_SIDE[this.painter.provider], sideOf(width, height, most)));
  }

  /** @param {Source} source @param {Painter} painter */
  async #paint(source, painter) {
    const began = performance.now();
    const first = !this.#knowsMask(source, painter);
    if (first) await this.#find(source, painter);
    else if (source.moves && !this.#finding && began > this.#restUntil) {
      this.#find(source, painter).catch((error) => this.#settle(error, source, painter));
    }
    await this.#follow(source, painter);
    const quick = source.moves || began < this.#fullAt;
    const [width, height] = this.#size(source, quick);
    const news = source.moves || this.#sent !== source;
    const frame = news ? await source.frame() : null;
    const photo = frame && source.moves ? await copy(frame) : null;
    if (this.#stale(source, painter) || (news && !frame)) return close(frame, photo);
    const { alpha, swap } = this;
    const painted = await painter.paint(frame, { width, height, alpha, swap }).catch((error) => {
      close(photo);
      throw error;
    });
    if (this.#stale(source, painter)) return close(painted, photo);
    this.#sent = source;
    this.#view.show(painted, photo);
    if (quick && !first && !this.#fixed) {
      this.pace.took(performance.now() - began, Math.sqrt(width * height));
    }
    this.#tell(source, width, height, quick);
  }

  /** A corrected mask stays, whatever pair paints. @param {Source} source @param {Painter} painter */
  #knowsMask(source, painter) {
    return this.#maskOf === source && (this.#maskBy === painter.masks || Boolean(this.mask?.corrected));
  }

  /** @param {Source} source @param {Painter} painter */
  async #find(source, painter) {
    const began = performance.now();
    const { width, height } = source;
    const side = source.moves ? Math.min(this.pace.side, MASK_SIDE) : MASK_SIDE;
    this.#finding = true;
    try {
      const frame = await source.frame();
      if (!frame || this.#stale(source, painter)) return close(frame);
      const mask = await painter.find(frame, ...fit(width, height, side));
      if (this.#stale(source, painter)) return close(mask);
      await painter.follow(mask);
      if (this.#stale(source, painter)) return close(mask);
      this.#setMask(mask, source.moves ? null : new Mask(readGray(mask)));
      [this.#maskOf, this.#maskBy, this.#follower] = [source, painter.masks, painter];
      const now = performance.now();
      this.#restUntil = now + painter.cores.rest * (now - began);
    } finally {
      this.#finding = false;
    }
  }

  /** Give the painter the mask if it has another. @param {Source} source @param {Painter} painter */
  async #follow(source, painter) {
    const version = this.mask?.version ?? 0;
    if (version !== this.#version && this.mask) {
      const mask = await toBitmap(this.mask);
      if (this.#stale(source, painter)) return close(mask);
      close(this.#view.mask);
      this.#view.mask = mask;
      [this.#version, this.#follower] = [version, null];
    }
    if (this.#follower === painter || !this.#view.mask) return;
    await painter.follow(this.#view.mask);
    this.#follower = painter;
  }

  /** @param {ImageBitmap | null} bitmap @param {Mask | null} mask */
  #setMask(bitmap, mask = null) {
    const told = this.mask || mask;
    close(this.#view.mask);
    this.#view.mask = bitmap;
    [this.mask, this.#version] = [mask, 0];
    if (told) this.onMask(mask);
  }

  /** @param {Source} source @param {number} width @param {number} height @param {boolean} quick */
  #tell(source, width, height, quick) {
    const now = performance.now();
    const interval = this.#last && now - this.#last;
    this.#interval += (interval - this.#interval) * (this.#interval ? 0.1 : 1);
    this.#last = now;
    const rate = this.#interval && 1000 / this.#interval;
    this.#report({ width, height, rate, moves: source.moves, quick });
  }
}

/** @param {Frame} frame @returns {Frame | Promise<Frame>} */
function copy(frame) {
  return "clone" in frame ? frame.clone() : createImageBitmap(frame);
}

/** @param {(Frame | null)[]} frames */
function close(...frames) {
  for (const frame of frames) frame?.close();
}
