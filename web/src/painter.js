// The two networks of a pair, each in its own worker: one predicts the mask, one paints.

import { shareCores } from "./pace.js";

/** @typedef {ImageBitmap | VideoFrame} Frame */
/** @typedef {{title: string, artist: string, year: string, picture: string}} Painting */
/**
 * @typedef {{name: string, foreground: Painting, background: Painting, mask: string, paint: string}} Pair
 * `mask`, `paint`: URLs of the ONNX files
 */

/** Calls tasks of a worker. */
export class WorkerClient {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();
  #sent = 0;
  /** @type {Error | null} */
  #dead = null;

  constructor() {
    this.#worker.onmessage = ({ data: { id, value, error } }) => {
      const call = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) call?.resolve(value);
      else call?.reject(new Error(error));
    };
    this.#worker.onerror = (event) => this.#fail(new Error(event.message || "the worker did not start"));
  }

  /**
   * @param {string} task
   * @param {Record<string, any>} given
   * @param {Transferable[]} transfer
   * @returns {Promise<any>}
   */
  call(task, given, transfer = []) {
    const id = this.#sent++;
    if (this.#dead) {
      for (const each of transfer) if ("close" in each) each.close();
      return Promise.reject(this.#dead);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, task, given }, { transfer });
    });
  }

  end() {
    this.#worker.terminate();
    this.#fail(new Error("ended"));
  }

  /** @param {Error} error */
  #fail(error) {
    this.#dead = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

export class Painter {
  #finds = new WorkerClient();
  #paints = new WorkerClient();

  /**
   * @param {Pair} pair
   * @param {"webgpu" | "wasm"} provider
   * @param {{paint: number, mask: number, rest: number}} cores
   */
  constructor(pair, provider, cores) {
    this.provider = provider;
    this.masks = `${provider} ${pair.mask}`; // what predicts the masks: equal for equal masks
    this.cores = cores;
  }

  /**
   * Load a pair's networks; falls back to WebAssembly if WebGPU fails.
   * Rejects if a file cannot be loaded.
   * @param {Pair} pair
   * @param {"webgpu" | "wasm"} provider
   * @returns {Promise<Painter>}
   */
  static async open(pair, provider) {
    const cores = shareCores(navigator.hardwareConcurrency || 1, self.crossOriginIsolated);
    const painter = new Painter(pair, provider, cores);
    const [mask, paint] = [pair.mask, pair.paint].map((path) => new URL(path, document.baseURI).href);
    try {
      await Promise.all([
        painter.#finds.call("open", { model: mask, provider, threads: cores.mask }),
        painter.#paints.call("open", { model: paint, provider, threads: cores.paint }),
      ]);
      if (provider === "webgpu") await painter.#try();
      return painter;
    } catch (error) {
      painter.end();
      if (provider === "webgpu") return Painter.open(pair, "wasm");
      throw error;
    }
  }

  /** Paint a small black picture: some drivers fail only when a network runs. */
  async #try() {
    const [width, height] = [64, 64];
    const black = () => createImageBitmap(new ImageData(width, height));
    await this.follow(await this.find(await black(), width, height));
    (await this.paint(await black(), { width, height, alpha: 0, swap: false })).close();
  }

  /**
   * Predict the mask of a frame, white = foreground; closes the frame.
   * @param {Frame} frame
   * @param {number} width
   * @param {number} height
   * @returns {Promise<ImageBitmap>}
   */
  find(frame, width, height) {
    return this.#finds.call("find", { frame, width, height }, [frame]);
  }

  /**
   * Use this mask from now on.
   * @param {ImageBitmap} mask not closed
   * @returns {Promise<void>}
   */
  follow(mask) {
    return this.#paints.call("follow", { mask });
  }

  /**
   * Paint a frame and close it; null repeats the last frame.
   * @param {Frame | null} frame
   * @param {{width: number, height: number, alpha: number, swap: boolean}} settings
   * @returns {Promise<ImageBitmap>}
   */
  paint(frame, settings) {
    return this.#paints.call("paint", { frame, ...settings }, frame ? [frame] : []);
  }

  /** Release threads and memory. */
  end() {
    this.#finds.end();
    this.#paints.end();
  }
}

/**
 * Choose the fastest backend: WebGPU if there is a hardware adapter.
 * @returns {Promise<"webgpu" | "wasm">}
 */
export async function bestProvider() {
  const wanted = new URLSearchParams(location.search).get("provider");
  if (wanted === "webgpu" || wanted === "wasm") return wanted;
  if (!("gpu" in navigator)) return "wasm";
  const gpu = /** @type {any} */ (navigator).gpu;
  const adapter = await gpu.requestAdapter().catch(() => null);
  return adapter && !adapter.info?.isFallbackAdapter ? "webgpu" : "wasm";
}
