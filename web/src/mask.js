// A mask that can be corrected by strokes, with undo and redo.

/** @typedef {{x: number, y: number}} Point in pixels of the mask */
/** @typedef {{left: number, top: number, right: number, bottom: number}} Box right and bottom excluded */
/** @typedef {Box & {before: Uint8ClampedArray, after: Uint8ClampedArray}} Change */

const STEPS = 50; // that can be undone

export class Mask {
  version = 0; // rises with every change
  #learned;
  /** @type {Change[]} */
  #done = [];
  /** @type {Change[]} */
  #undone = [];
  /** @type {Uint8ClampedArray | null} */
  #before = null; // the mask at the beginning of the stroke
  /** @type {Box} */
  #box = { left: 0, top: 0, right: 0, bottom: 0 };

  /** @param {import("./gray.js").Gray} learned 255 = foreground */
  constructor({ width, height, gray }) {
    this.width = width;
    this.height = height;
    this.gray = gray;
    this.#learned = gray.slice();
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** Whether it differs from what was learned. */
  get corrected() {
    return this.gray.some((value, i) => value !== this.#learned[i]);
  }

  /** Begin a stroke. */
  begin() {
    this.end();
    this.#before = this.gray.slice();
    this.#box = { left: this.width, top: this.height, right: 0, bottom: 0 };
  }

  /**
   * Continue the stroke along a line. Pixels further than the radius and a half keep their values.
   * @param {Point} from
   * @param {Point} to
   * @param {number} radius pixels
   * @param {boolean} adds to the foreground; otherwise takes from it
   */
  line(from, to, radius, adds) {
    if (!this.#before) return;
    const reach = radius + 0.5;
    const left = Math.max(0, Math.floor(Math.min(from.x, to.x) - reach));
    const top = Math.max(0, Math.floor(Math.min(from.y, to.y) - reach));
    const right = Math.min(this.width, Math.ceil(Math.max(from.x, to.x) + reach));
    const bottom = Math.min(this.height, Math.ceil(Math.max(from.y, to.y) + reach));
    if (left >= right || top >= bottom) return;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const covered = Math.min(1, reach - distance({ x: x + 0.5, y: y + 0.5 }, from, to));
        if (covered <= 0) continue;
        const i = y * this.width + x;
        if (adds) this.gray[i] = Math.max(this.gray[i], 255 * covered);
        else this.gray[i] = Math.min(this.gray[i], 255 * (1 - covered));
      }
    }
    const box = this.#box;
    this.#box = {
      left: Math.min(box.left, left),
      top: Math.min(box.top, top),
      right: Math.max(box.right, right),
      bottom: Math.max(box.bottom, bottom),
    };
  }

  /**
   * End the stroke.
   * @returns {boolean} whether it changed the mask
   */
  end() {
    const before = this.#before;
    this.#before = null;
    if (!before) return false;
    return this.#keep(this.#box, before);
  }

  /** @returns {boolean} whether there was a change to undo */
  undo() {
    const change = this.#done.pop();
    if (!change) return false;
    this.#undone.push(change);
    return this.#put(change, change.before);
  }

  /** @returns {boolean} whether there was a change to redo */
  redo() {
    const change = this.#undone.pop();
    if (!change) return false;
    this.#done.push(change);
    return this.#put(change, change.after);
  }

  /**
   * Return to the learned mask; can be undone.
   * @returns {boolean} whether this changed the mask
   */
  reset() {
    this.end();
    const before = this.gray.slice();
    this.gray.set(this.#learned);
    return this.#keep({ left: 0, top: 0, right: this.width, bottom: this.height }, before);
  }

  /** @param {Box} box @param {Uint8ClampedArray} before the whole mask */
  #keep(box, before) {
    const change = { ...box, before: this.#cut(before, box), after: this.#cut(this.gray, box) };
    if (change.before.every((value, i) => value === change.after[i])) return false;
    this.#done.push(change);
    if (this.#done.length > STEPS) this.#done.shift();
    this.#undone = [];
    this.version++;
    return true;
  }

  /** @param {Uint8ClampedArray} gray @param {Box} box */
  #cut(gray, { left, top, right, bottom }) {
    const wide = Math.max(0, right - left);
    const cut = new Uint8ClampedArray(wide * Math.max(0, bottom - top));
    for (let y = top, i = 0; y < bottom; y++, i += wide) {
      cut.set(gray.subarray(y * this.width + left, y * this.width + right), i);
    }
    return cut;
  }

  /** @param {Box} box @param {Uint8ClampedArray} values */
  #put({ left, top, right, bottom }, values) {
    const wide = right - left;
    for (let y = top, i = 0; y < bottom; y++, i += wide) {
      this.gray.set(values.subarray(i, i + wide), y * this.width + left);
    }
    this.version++;
    return true;
  }
}

/** @param {Point} point @param {Point} from @param {Point} to @returns {number} distance from the line */
function distance(point, from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const along = ((point.x - from.x) * dx + (point.y - from.y) * dy) / (dx * dx + dy * dy || 1);
  const t = Math.min(Math.max(along, 0), 1);
  return Math.hypot(point.x - from.x - t * dx, point.y - from.y - t * dy);
}
