// Small paintings of the user's picture, one for each pair, made while nothing else is to be done.

import { crop } from "./crop.js";
import { fit, sideOf } from "./pace.js";
import { WorkerClient } from "./painter.js";

/** @typedef {import("./painter.js").Pair} Pair */
/**
 * @typedef {{source: import("./sources.js").Still, mask: ImageBitmap, swap: boolean, provider: "webgpu" | "wasm"}} Subject
 */

const LONG = 128; // long side, pixels
const SHAPE = 4 / 3; // width to height
const PATIENCE = 2000; // milliseconds without a change before they are painted

export class Thumbnails {
  #pairs;
  #place;
  /** @type {Map<string, HTMLCanvasElement>} */
  #made = new Map(); // by pair and swap, of one picture
  /** @type {unknown} */
  #source = null;
  /** @type {WorkerClient | null} */
  #worker = null; // one network at a time
  #round = 0;
  #timer = 0;

  /**
   * @param {Pair[]} pairs
   * @param {(pair: Pair, painted: HTMLCanvasElement | null) => void} place null: there is none
   */
  constructor(pairs, place) {
    this.#pairs = pairs;
    this.#place = place;
  }

  /**
   * Paint what is missing, later.
   * @param {Subject} subject
   */
  later(subject) {
    this.pause();
    if (this.#source !== subject.source) this.forget();
    this.#source = subject.source;
    for (const pair of this.#pairs) this.#place(pair, this.#made.get(keyOf(pair, subject)) ?? null);
    const idle = /** @type {any} */ (self).requestIdleCallback ?? ((/** @type {() => void} */ then) => then());
    const mine = this.#round;
    this.#timer = setTimeout(() => idle(() => mine === this.#round && this.#go(subject)), PATIENCE);
  }

  /** Stop until the next `later`: something else is to be painted. */
  pause() {
    this.#round++;
    clearTimeout(this.#timer);
    this.#worker?.end();
    this.#worker = null;
  }

  /** Stop, and take all away: they are of another picture. */
  forget() {
    this.pause();
    this.#source = null;
    this.#made.clear();
    for (const pair of this.#pairs) this.#place(pair, null);
  }

  /** @param {Subject} subject */
  async #go(subject) {
    const mine = this.#round;
    const missing = this.#pairs.filter((pair) => !this.#made.has(keyOf(pair, subject)));
    if (!missing.length) return;
    const worker = (this.#worker = new WorkerClient());
    try {
      for (const pair of missing) {
        const painted = await paint(worker, pair, subject);
        if (mine !== this.#round) return painted.close();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [painted.width, painted.height];
        canvas.getContext("2d", { alpha: false })?.drawImage(painted, 0, 0);
        painted.close();
        this.#made.set(keyOf(pair, subject), canvas);
        this.#place(pair, canvas);
      }
    } catch (error) {
      if (mine === this.#round) console.warn(error); // the paintings stay in their places
    } finally {
      worker.end();
    }
  }
}

/** @param {Pair} pair @param {Subject} subject */
function keyOf(pair, { swap }) {
  return `${pair.name} ${swap}`;
}

/**
 * @param {WorkerClient} worker
 * @param {Pair} pair
 * @param {Subject} subject
 * @returns {Promise<ImageBitmap>}
 */
async function paint(worker, pair, { source, mask, swap, provider }) {
  const model = new URL(pair.paint, document.baseURI).href;
  await worker.call("open", { model, provider, threads: 1 });
  const part = await crop(mask, SHAPE);
  await worker.call("follow", { mask: part }, [part]);
  const frame = await crop(source.bitmap, SHAPE);
  const [width, height] = fit(frame.width, frame.height, sideOf(frame.width, frame.height, LONG));
  return worker.call("paint", { frame, width, height, alpha: 0, swap }, [frame]);
}
