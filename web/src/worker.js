// Runs one network off the main thread: the mask network or the painting network.
// Pictures are passed as bitmaps; the receiver closes them.

import { toMask, toPlanes, toRgba } from "./pixels.js";
import wasmFile from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import wasmLoader from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import gpuFile from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import gpuLoader from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";

/** @typedef {ImageBitmap | VideoFrame} Frame */
/** @typedef {{width: number, height: number, planes: Float32Array}} Content */

const canvas = new OffscreenCanvas(1, 1);
const pen = /** @type {OffscreenCanvasRenderingContext2D} */ (
  canvas.getContext("2d", { alpha: false, willReadFrequently: true })
);
const result = new OffscreenCanvas(1, 1);
const brush = /** @type {OffscreenCanvasRenderingContext2D} */ (result.getContext("2d", { alpha: false }));

/** @type {import("onnxruntime-web").InferenceSession | undefined} */
let session;
/** @type {typeof import("onnxruntime-web").Tensor} */
let Tensor;
/** @type {Frame | null} */
let frame = null; // the last frame, reused when only alpha changes
/** @type {Content | null} */
let content = null;
/** @type {ImageBitmap | null} */
let mask = null;

const tasks = {
  /**
   * Load the network; called first. A later call replaces it.
   * @param {{model: string, provider: "webgpu" | "wasm", threads: number}} given
   */
  async open({ model, provider, threads }) {
    const gpu = provider === "webgpu";
    const ort = gpu ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = gpu ? { wasm: gpuFile, mjs: gpuLoader } : { wasm: wasmFile, mjs: wasmLoader };
    ort.env.logLevel = "error";
    const answer = await fetch(model);
    if (!answer.ok) throw new Error(`${model}: ${answer.status}`);
    Tensor = ort.Tensor;
    await session?.release();
    session = await ort.InferenceSession.create(await answer.arrayBuffer(), {
      executionProviders: [provider],
      logSeverityLevel: 3,
    });
  },

  /**
   * Predict the mask of a frame, white = foreground.
   * @param {{frame: Frame, width: number, height: number}} given
   */
  async find(given) {
    const input = read(given.frame, given.width, given.height);
    given.frame.close();
    return picture(await run({ content: tensor(input) }, "mask"), input);
  },

  /**
   * Use this mask from now on.
   * @param {{mask: ImageBitmap}} given
   */
  async follow(given) {
    mask?.close();
    mask = given.mask;
  },

  /**
   * Paint a frame; null repeats the last one.
   * @param {{frame: Frame | null, width: number, height: number, alpha: number, swap: boolean}} given
   */
  async paint({ frame: next, width, height, alpha, swap }) {
    if (next) {
      frame?.close();
      [frame, content] = [next, null];
    }
    if (!frame || !mask) throw new Error("no frame or no mask yet");
    if (content?.width !== width || content?.height !== height) content = read(frame, width, height);
    const region = toMask(draw(mask, width, height), swap);
    const feeds = {
      content: tensor(content),
      alpha: new Tensor("float32", [alpha], [1]),
      mask: new Tensor("float32", region, [1, 1, height, width]),
    };
    const planes = await run(feeds, "stylized");
    if (isBlack(planes) && !isBlack(content.planes)) throw new Error("the painting is black");
    return picture(planes, content);
  },
};

/** @param {Frame} source @param {number} width @param {number} height @returns {Uint8ClampedArray} */
function draw(source, width, height) {
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  pen.imageSmoothingQuality = "medium"; // avoids aliasing when reducing
  pen.drawImage(source, 0, 0, width, height);
  return pen.getImageData(0, 0, width, height).data;
}

/** @param {Frame} source @param {number} width @param {number} height @returns {Content} */
function read(source, width, height) {
  return { width, height, planes: toPlanes(draw(source, width, height)) };
}

/** @param {Content} content */
function tensor({ planes, width, height }) {
  return new Tensor("float32", planes, [1, 3, height, width]);
}

/** @param {Record<string, import("onnxruntime-web").Tensor>} feeds @param {string} output */
async function run(feeds, output) {
  if (!session) throw new Error("no network yet");
  const results = await session.run(feeds);
  const planes = /** @type {Float32Array} */ (await results[output].getData());
  for (const each of [...Object.values(feeds), ...Object.values(results)]) each.dispose();
  if (!isFinite(planes.reduce((sum, value) => sum + value, 0))) throw new Error(`${output}: not a number`);
  return planes;
}

/**
 * Some drivers fail without an error: the result is empty.
 * @param {Float32Array} planes
 */
function isBlack(planes) {
  return !planes.some((light) => light > 0);
}

/** @param {Float32Array} planes @param {{width: number, height: number}} size */
function picture(planes, { width, height }) {
  [result.width, result.height] = [width, height];
  brush.putImageData(new ImageData(toRgba(planes, width * height), width, height), 0, 0);
  return result.transferToImageBitmap();
}

let done = Promise.resolve(); // one task at a time: a session cannot run two

self.onmessage = ({ data }) => {
  done = done.then(() => handle(data));
};

/** @param {{id: number, task: string, given: any}} message */
async function handle({ id, task, given }) {
  try {
    const value = await tasks[/** @type {keyof typeof tasks} */ (task)](given);
    self.postMessage({ id, value }, { transfer: value ? [value] : [] });
  } catch (error) {
    self.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
}
