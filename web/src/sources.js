// Sources: a still picture, a video file, a camera. Each provides frames on demand.

import { Trouble, WORDS, cameraTrouble, unreadable } from "./words.js";

/** @typedef {ImageBitmap | VideoFrame} Frame */

const MOST_BYTES = 2 ** 31;
const MOST_PIXELS = 100e6;
const MOST_PICTURE = 2e8; // bytes; larger files are taken for videos
const STILL_SIDE = 2048; // square root of the maximum number of pixels kept of a picture

export class Still {
  moves = false;

  /** @param {ImageBitmap} bitmap */
  constructor(bitmap) {
    this.bitmap = bitmap;
    this.width = bitmap.width;
    this.height = bitmap.height;
  }

  /** The original, for comparison. */
  get original() {
    return this.bitmap;
  }

  /** @returns {Promise<ImageBitmap>} */
  async frame() {
    return createImageBitmap(this.bitmap);
  }

  end() {
    this.bitmap.close();
  }
}

export class Moving {
  moves = true;
  #ended = false;

  /**
   * @param {HTMLVideoElement} video playing
   * @param {() => void} onFrame called for each new frame
   */
  constructor(video, onFrame) {
    this.video = video;
    const next = (/** @type {() => void} */ then) =>
      "requestVideoFrameCallback" in video ? video.requestVideoFrameCallback(then) : requestAnimationFrame(then);
    const tell = () => {
      if (this.#ended) return;
      onFrame();
      next(tell);
    };
    next(tell);
  }

  get width() {
    return this.video.videoWidth;
  }

  get height() {
    return this.video.videoHeight;
  }

  get original() {
    return this.video;
  }

  /** @returns {Promise<Frame | null>} null if none is available yet */
  async frame() {
    if (this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return null;
    return "VideoFrame" in self ? new VideoFrame(this.video) : createImageBitmap(this.video);
  }

  /** The track of a camera, null for files. */
  get camera() {
    return this.video.srcObject instanceof MediaStream ? this.video.srcObject.getVideoTracks()[0] : null;
  }

  end() {
    this.#ended = true;
    this.video.pause();
    this.camera?.stop();
    if (this.video.src) URL.revokeObjectURL(this.video.src);
    this.video.removeAttribute("src");
    this.video.srcObject = null;
    this.video.load();
  }
}

/**
 * Open a picture or a video file. Throws Trouble if it is neither, or too large.
 * @param {Blob} file
 * @param {string} name
 * @param {() => void} onFrame
 * @returns {Promise<Still | Moving>}
 */
export async function openFile(file, name, onFrame) {
  if (file.size > MOST_BYTES) throw new Trouble(WORDS.tooLarge);
  const maybe = !file.type.startsWith("video/") && file.size < MOST_PICTURE;
  const bitmap = maybe ? await createImageBitmap(file).catch(() => null) : null;
  if (!bitmap) return openVideo(file, name, onFrame);
  const { width, height } = bitmap;
  const scale = STILL_SIDE / Math.sqrt(width * height);
  if (scale >= 1) return new Still(bitmap);
  try {
    if (width * height > MOST_PIXELS) throw new Trouble(WORDS.tooLarge);
    const [resizeWidth, resizeHeight] = [Math.round(width * scale), Math.round(height * scale)];
    return new Still(await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" }));
  } finally {
    bitmap.close();
  }
}

/** @param {Blob} file @param {string} name @param {() => void} onFrame */
async function openVideo(file, name, onFrame) {
  const video = silentVideo();
  video.src = URL.createObjectURL(file);
  video.loop = true;
  try {
    await video.play();
    if (!video.videoWidth) throw new Error("no video track");
  } catch {
    URL.revokeObjectURL(video.src);
    throw new Trouble(unreadable(name));
  }
  return new Moving(video, onFrame);
}

/**
 * Open a camera. Throws Trouble if there is none or access is denied.
 * @param {string | null} device its id; null: the rear camera if there is one
 * @param {() => void} onFrame
 * @param {() => void} onLost called when it is disconnected
 * @returns {Promise<Moving>}
 */
export async function openCamera(device, onFrame, onLost) {
  if (!navigator.mediaDevices) throw new Trouble(WORDS.insecure);
  const video = silentVideo();
  const which = device ? { deviceId: { exact: device } } : { facingMode: "environment" };
  /** @type {MediaStream | null} */
  let stream = null;
  try {
    const wanted = { ...which, width: { ideal: 1280 }, height: { ideal: 720 } };
    stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    video.srcObject = stream;
    await video.play();
  } catch (error) {
    for (const track of stream?.getTracks() ?? []) track.stop();
    throw new Trouble(cameraTrouble(error));
  }
  const moving = new Moving(video, onFrame);
  moving.camera?.addEventListener("ended", onLost);
  return moving;
}

/**
 * Find the next camera.
 * @param {MediaStreamTrack} track
 * @returns {Promise<string | null>} its id, null if there is no other
 */
export async function nextCamera(track) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const ids = devices.filter(({ kind }) => kind === "videoinput").map(({ deviceId }) => deviceId);
  const own = ids.indexOf(track.getSettings().deviceId ?? "");
  return ids.length > 1 ? ids[(own + 1) % ids.length] : null;
}

function silentVideo() {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  return video;
}
