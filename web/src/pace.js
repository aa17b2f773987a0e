// How large a picture may be, and how often its mask is looked for, so that painting keeps up.

export const AIM = 15; // frames a second
const LEAST = 128; // side of the square as large as the picture, pixels
const MOST = 1080;
const GRID = 16; // pixels: sides are whole numbers of these
const WINDOW = 15; // frames between changes
const LATE = 1000; // milliseconds: slow frames change it earlier
const ROOM = 1.5; // so much faster than the aim: larger pictures
const MARGIN = 1.2; // a change goes for this times the aim

/** Chooses the size of moving pictures by how long the last ones took. */
export class Pace {
  side = 256;
  #milliseconds = 0;
  #frames = 0;

  /**
   * Width and height, pixels, of a picture of that shape: never larger than it is itself.
   * @param {number} width
   * @param {number} height
   * @returns {[number, number]}
   */
  size(width, height) {
    return fit(width, height, this.side);
  }

  /** Forget how long frames took: something else is painted. */
  reset() {
    [this.#milliseconds, this.#frames] = [0, 0];
  }

  /**
   * Learn how long a frame took; after some of them the size may change.
   * @param {number} milliseconds
   * @param {number} side of the square as large as that frame, pixels
   */
  took(milliseconds, side) {
    this.#milliseconds += milliseconds;
    if (++this.#frames < WINDOW && this.#milliseconds < LATE) return;
    const spare = (1000 * this.#frames) / this.#milliseconds / AIM;
    this.reset();
    if (spare >= 1 && spare <= ROOM) return;
    const whole = (spare < 1 ? Math.floor : Math.round)((side * Math.sqrt(Math.min(spare / MARGIN, 2))) / GRID);
    const next = Math.min(Math.max(whole * GRID, LEAST), MOST);
    // A small picture says little of how a large one would do.
    if (spare < 1 || side > this.side - GRID) this.side = next;
  }
}

/**
 * Width and height near those of a square of that side, in the picture's shape; the picture's own
 * where that is smaller.
 * @param {number} width
 * @param {number} height
 * @param {number} side
 * @returns {[number, number]}
 */
export function fit(width, height, side) {
  const scale = side / Math.sqrt(width * height);
  if (scale >= 1) return [width, height];
  const whole = (/** @type {number} */ x) => Math.max(GRID, GRID * Math.round((x * scale) / GRID));
  return [whole(width), whole(height)];
}

/**
 * Threads for what paints and for what looks for the mask, beside each other.
 * @param {number} cores
 * @param {boolean} isolated threads can share memory: the page is cross-origin isolated
 * @returns {{paint: number, mask: number, rest: number}} `rest`: how long the mask's network waits,
 * in times that it worked
 */
export function shareCores(cores, isolated) {
  if (!isolated) return { paint: 1, mask: 1, rest: cores > 2 ? 0 : 1 };
  if (cores <= 2) return { paint: cores, mask: 1, rest: 1 };
  const mask = Math.max(1, Math.floor(Math.min(cores, 8) / 3));
  return { paint: Math.min(cores, 8) - mask, mask, rest: 0 };
}
