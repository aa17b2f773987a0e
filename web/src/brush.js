// A brush that adds to the mask and takes from it, by pointer and by keyboard.

import { drawOverlay } from "./overlay.js";
import { disable, isDisabled, press } from "./press.js";
import { WORDS } from "./words.js";

/** @typedef {import("./mask.js").Point} Point */
/**
 * @typedef {Record<"button" | "tools" | "add" | "erase" | "undo" | "redo" | "reset" | "why" | "cursor", HTMLElement> &
 *   {overlay: HTMLCanvasElement, size: HTMLInputElement}} Parts
 */

const STEP = 0.02; // of the long side: how far an arrow key moves the brush
const FINE_STEP = 0.004; // with Shift
const GROWTH = 1.25; // of the size by one key
const PEN_ERASER = 32; // in `buttons` of a pointer
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Brush {
  #parts;
  #changed;
  /** @type {import("./mask.js").Mask | null} */
  #mask = null;
  #on = false;
  #adds = true;
  /** @type {Point} */
  #at = { x: 0, y: 0 };
  /** @type {number | "key" | null} */
  #holder = null; // the pointer that paints, or the space key
  #erases = false; // the eraser of a pen
  #drawing = false;

  /**
   * @param {Parts} parts
   * @param {() => void} changed called after each change of the mask
   */
  constructor(parts, changed) {
    this.#parts = parts;
    this.#changed = changed;
    const { overlay } = parts;
    const acts = {
      button: () => this.#open(!this.#on),
      add: () => this.#choose(true),
      erase: () => this.#choose(false),
      undo: () => this.#step("undo"),
      redo: () => this.#step("redo"),
      reset: () => this.#step("reset"),
    };
    for (const [name, act] of Object.entries(acts)) {
      const part = parts[/** @type {keyof typeof acts} */ (name)];
      part.addEventListener("click", () => isDisabled(part) || act());
    }
    parts.size.addEventListener("input", () => this.#draw());
    overlay.addEventListener("pointerdown", (event) => this.#pointerDown(event));
    overlay.addEventListener("pointermove", (event) => this.#pointerMove(event));
    for (const end of /** @type {const} */ (["pointerup", "pointercancel"])) {
      overlay.addEventListener(end, ({ pointerId }) => pointerId === this.#holder && this.#end());
    }
    overlay.addEventListener("keydown", (event) => this.#keyDown(event));
    overlay.addEventListener("keyup", ({ key }) => key === " " && this.#holder === "key" && this.#end());
    overlay.addEventListener("blur", () => this.#holder === "key" && this.#end());
    document.addEventListener("keydown", (event) => this.#shortcut(event));
    this.#choose(true);
  }

  /**
   * Correct this mask from now on; null: there is none yet.
   * @param {import("./mask.js").Mask | null} mask
   */
  take(mask) {
    this.#holder = null;
    this.#mask = mask;
    if (mask) this.#at = { x: mask.width / 2, y: mask.height / 2 };
    this.#draw();
  }

  /** @param {boolean} possible whether the source is a still picture */
  allow(possible) {
    if (!possible) this.#open(false);
    const { button, why } = this.#parts;
    disable(button, !possible);
    why.textContent = possible ? "" : WORDS.brushNeedsStill;
  }

  get #radius() {
    const { width, height } = this.#mask ?? { width: 0, height: 0 };
    return (Number(this.#parts.size.value) / 200) * Math.max(width, height); // the size is a diameter in percent
  }

  /** @param {boolean} on */
  #open(on) {
    this.#end();
    this.#on = on;
    const { button, tools, overlay, cursor } = this.#parts;
    press(button, on);
    tools.hidden = overlay.hidden = cursor.hidden = !on;
    if (on) {
      overlay.focus({ preventScroll: true });
      tools.scrollIntoView({ block: "nearest" });
      overlay.scrollIntoView({ block: "nearest" });
    }
    this.#draw();
  }

  /** @param {boolean} adds */
  #choose(adds) {
    this.#adds = adds;
    press(this.#parts.add, adds);
    press(this.#parts.erase, !adds);
    this.#draw();
  }

  /** @param {"undo" | "redo" | "reset"} what */
  #step(what) {
    this.#end();
    if (this.#mask?.[what]()) this.#changed();
    this.#draw();
  }

  /** @param {number} factor */
  #grow(factor) {
    const { size } = this.#parts;
    const now = Number(size.value);
    const wanted = Math.round(now * factor);
    size.value = String(wanted === now ? now + Math.sign(factor - 1) : wanted);
    this.#draw();
  }

  /** @param {number | "key"} holder */
  #begin(holder) {
    if (!this.#mask || this.#holder !== null) return;
    this.#holder = holder;
    this.#mask.begin();
    this.#move(this.#at);
  }

  /** Move the brush; paints if a pointer or a key is held. @param {Point} to */
  #move(to) {
    if (!this.#mask) return;
    if (this.#holder !== null) this.#mask.line(this.#at, to, this.#radius, this.#adds && !this.#erases);
    this.#at = to;
    this.#draw();
  }

  #end() {
    if (this.#holder === null) return;
    this.#holder = null;
    if (this.#mask?.end()) this.#changed();
    this.#draw();
  }

  /** @param {PointerEvent} event @returns {Point} in pixels of the mask */
  #place({ clientX, clientY }) {
    const { left, top, width, height } = this.#parts.overlay.getBoundingClientRect();
    const mask = this.#mask ?? { width: 0, height: 0 };
    return { x: ((clientX - left) / width) * mask.width, y: ((clientY - top) / height) * mask.height };
  }

  /** @param {PointerEvent} event */
  #pointerDown(event) {
    const erases = Boolean(event.buttons & PEN_ERASER);
    if ((event.button !== 0 && !erases) || this.#holder !== null) return;
    if (event.isTrusted) this.#parts.overlay.setPointerCapture(event.pointerId);
    this.#erases = erases;
    this.#at = this.#place(event);
    this.#begin(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #pointerMove(event) {
    if (this.#holder !== null && this.#holder !== event.pointerId) return;
    const parts = event.getCoalescedEvents?.() ?? [];
    for (const each of parts.length ? parts : [event]) this.#move(this.#place(each));
  }

  /** @param {KeyboardEvent} event on the picture */
  #keyDown(event) {
    if (!this.#mask || event.ctrlKey || event.metaKey || event.altKey) return;
    const { key, shiftKey, repeat } = event;
    if (key === " ") {
      event.preventDefault(); // does not scroll
      if (repeat) return;
      this.#erases = false;
      this.#begin("key");
    } else if (key in ARROWS) {
      event.preventDefault();
      const [right, down] = ARROWS[/** @type {keyof typeof ARROWS} */ (key)];
      const { width, height } = this.#mask;
      const step = Math.max(width, height) * (shiftKey ? FINE_STEP : STEP);
      const within = (/** @type {number} */ value, /** @type {number} */ most) => Math.min(Math.max(value, 0), most);
      this.#move({ x: within(this.#at.x + right * step, width), y: within(this.#at.y + down * step, height) });
    }
  }

  /** @param {KeyboardEvent} event anywhere on the page */
  #shortcut(event) {
    if (!this.#on) return;
    const key = event.key.toLowerCase();
    const control = event.ctrlKey || event.metaKey;
    if (control && key === "z") this.#step(event.shiftKey ? "redo" : "undo");
    else if (control && key === "y") this.#step("redo");
    else if (key === "[") this.#grow(1 / GROWTH);
    else if (key === "]") this.#grow(GROWTH);
    else if (control || event.altKey) return;
    else if (key === "x") this.#choose(!this.#adds);
    else if (key === "escape") {
      this.#open(false);
      this.#parts.button.focus();
    } else return;
    event.preventDefault();
  }

  /** Bring what is seen up to date, once for each frame of the screen. */
  #draw() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      const { overlay, cursor, undo, redo, reset, size } = this.#parts;
      size.setAttribute("aria-valuetext", `${size.value} percent of the picture`);
      const mask = this.#mask;
      cursor.style.visibility = mask ? "visible" : "hidden";
      overlay.style.visibility = mask ? "visible" : "hidden";
      disable(undo, !mask?.canUndo);
      disable(redo, !mask?.canRedo);
      if (!mask || !this.#on) return;
      disable(reset, !mask.corrected);
      drawOverlay(overlay, mask);
      const percent = (/** @type {number} */ part, /** @type {number} */ whole) => `${(100 * part) / whole}%`;
      cursor.style.left = percent(this.#at.x, mask.width);
      cursor.style.top = percent(this.#at.y, mask.height);
      cursor.style.width = percent(2 * this.#radius, mask.width);
      cursor.dataset.adds = String(this.#adds);
    });
  }
}
