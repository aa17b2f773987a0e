// What the page says when something is missing or goes wrong.

/** A trouble that the reader can do something about. */
export class Trouble extends Error {}

export const WORDS = {
  loading: "Loading the painter …",
  noGpu: "No WebGPU here, so the processor paints: smaller pictures, fewer of them a second.",
  oneThread: "This host does not isolate the page, so one thread paints.",
  noModel: "The painter could not be loaded. Is there a network? It is needed the first time.",
  failed: "Painting failed. Reload the page; if it happens again, try ?provider=wasm.",
  noWasm: "This browser has no WebAssembly. A current Chrome, Edge, Firefox or Safari has.",
  noCamera: "No camera was found. Plug one in, or open a picture.",
  denied: "The camera may not be used. Allow it in the browser's settings for this page.",
  busyCamera: "The camera is in use by something else. Close that and try again.",
  lostCamera: "The camera was taken away.",
  insecure: "Cameras need a secure page: open this one over https, or on localhost.",
  tooLarge: "That file is too large: at most 2 GB, and 100 megapixels a picture.",
  noSample: "The sample could not be loaded. Open a picture, or start the camera.",
  recorded: "The clip was saved.",
  saved: "The picture was saved.",
  cannotRecord: "This browser cannot record.",
};

/**
 * @param {string} name of a file
 * @returns {string}
 */
export function unreadable(name) {
  return `${name}: this browser can show it neither as a picture nor as a video. Try JPEG, PNG or MP4.`;
}

/**
 * @param {unknown} error from getUserMedia
 * @returns {string}
 */
export function cameraTrouble(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return WORDS.denied;
  if (name === "NotReadableError" || name === "AbortError") return WORDS.busyCamera;
  return WORDS.noCamera;
}
