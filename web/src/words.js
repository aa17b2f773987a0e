// Messages of the page.

/** An error with a message for the user. */
export class Trouble extends Error {}

export const WORDS = {
  painting: "Painting …",
  loading: "The model is loading.",
  notPainted: "The picture is not painted yet.",
  brushNeedsStill: "The brush needs a still picture: it does not work on videos and the camera.",
  noGpu: "WebGPU is not available; the CPU paints smaller pictures at a lower frame rate.",
  oneThread: "The page is not cross-origin isolated; only one thread is used.",
  noModel: "The model could not be loaded. The first visit needs a network connection.",
  failed: "Painting failed. Reload the page; if it happens again, try ?provider=wasm.",
  noWasm: "This browser does not support WebAssembly. Use a current Chrome, Edge, Firefox or Safari.",
  noCamera: "No camera was found. Connect one, or open a picture.",
  denied: "Camera access is denied. Allow it in the browser's settings for this page.",
  busyCamera: "The camera is in use by another program. Close it and try again.",
  lostCamera: "The camera was disconnected.",
  insecure: "Cameras need a secure connection: open this page over https or on localhost.",
  tooLarge: "The file is too large: at most 2 GB, and 100 megapixels for a picture.",
  noSample: "The sample could not be loaded. Open a picture or start the camera.",
  recorded: "The clip was saved.",
  saved: "The picture was saved.",
  cannotRecord: "This browser cannot record video.",
};

/**
 * @param {string} name of a file
 * @returns {string}
 */
export function unreadable(name) {
  return `${name}: this browser can open it neither as a picture nor as a video. Try JPEG, PNG or MP4.`;
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
