// Chooses picture size and number of threads so that live video reaches its frame rate.

export const AIM = 15; // target frames per second
const LEAST = 128; // minimum and maximum square root of the number of pixels
const MOST = 1080;
const GRID = 16; // sides are multiples of this, pixels
const SHORTEST = 256; // minimum long side of moving pictures; slow machines show fewer frames instead
const WINDOW = 15; // frames between changes
const LATE = 1000; // milliseconds after which slow frames cause an earlier change
const ROOM = 1.5; // speed relative to the target above which pictures become larger
const MARGIN = 1.2; // speed relative to the target that a change is meant to reach

/** @typedef {"fine" | "medium" | "bold"} Stroke */
/**
 * Maximum long side of the painted picture, pixels: strokes are wider in smaller pictures.
 * @type {Record<Stroke, number>}
 */
export const STROKES = { fine: Infinity, medium: 400, bold: SHORTEST };

/** Chooses the size of video frames by the latency of the previous ones. */
export class Pace {
  side = 256;
  least = SHORTEST; // minimum long side, pixels
  #milliseconds = 0;
  #frames = 0;

  /**
   * Width and height in pixels for a picture of this size, at most its own.
   * @param {number} width
   * @param {number} height
   * @param {number} most maximum long side
   * @returns {[number, number]}
   */
  size(width, height, most = Infinity) {
    const side = Math.min(this.side, sideOf(width, height, most));
    return fit(width, height, Math.max(side, sideOf(width, height, this.least)));
  }

  /** Forget the latency of previous frames, for a new source. */
  reset() {
    [this.#milliseconds, this.#frames] = [0, 0];
  }

  /**
   * Record the latency of a frame; after several frames the size may change.
   * @param {number} milliseconds
   * @param {number} side square root of the number of pixels of the frame
   */
  took(milliseconds, side) {
    this.#milliseconds += milliseconds;
    if (++this.#frames < WINDOW && this.#milliseconds < LATE) return;
    const spare = (1000 * this.#frames) / this.#milliseconds / AIM;
    this.reset();
    if (spare >= 1 && spare <= ROOM) return;
    const whole = (spare < 1 ? Math.floor : Math.round)((side * Math.sqrt(Math.min(spare / MARGIN, 2))) / GRID);
    const next = Math.min(Math.max(whole * GRID, LEAST), MOST);
    // Small pictures do not predict the speed of larger ones.
    if (spare < 1 || side > this.side - GRID) this.side = next;
  }
}

/**
 * Scale width and height to about side * side pixels, keeping the aspect ratio; never enlarges.
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
 * The side for `fit` that gives this long side.
 * @param {number} width
 * @param {number} height
 * @param {number} long
 * @returns {number}
 */
export function sideOf(width, height, long) {
  return (long * Math.sqrt(width * height)) / Math.max(width, height);
}

/**
 * Distribute threads to the painting network and the mask network, which run in parallel.
 * @param {number} cores
 * @param {boolean} isolated whether the page is cross-origin isolated, so that threads can share memory
 * @returns {{paint: number, mask: number, rest: number}} `rest`: pause of the mask network,
 * relative to the time that it took
 */
export function shareCores(cores, isolated) {
  if (!isolated) return { paint: 1, mask: 1, rest: cores > 2 ? 0 : 1 };
  if (cores <= 2) return { paint: cores, mask: 1, rest: 1 };
  const mask = Math.max(1, Math.floor(Math.min(cores, 8) / 3));
  return { paint: Math.min(cores, 8) - mask, mask, rest: 0 };
}
