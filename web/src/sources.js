// What is painted: a still picture, a video file, a camera. Each gives frames on demand.

import { Trouble, WORDS, cameraTrouble, unreadable } from "./words.js";

/** @typedef {ImageBitmap | VideoFrame} Frame */

const MOST_BYTES = 2 ** 31;
const MOST_PIXELS = 100e6;

export class Still {
  moves = false;

  /** @param {ImageBitmap} bitmap */
  constructor(bitmap) {
    this.bitmap = bitmap;
    this.width = bitmap.width;
    this.height = bitmap.height;
  }

  /** What the page shows for comparison. */
  get original() {
    return this.bitmap;
  }

  /** @returns {Promise<Frame>} */
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
   * @param {HTMLVideoElement} video that plays
   * @param {() => void} onFrame called for each new frame
   */
  constructor(video, onFrame) {
    this.video = video;
    const tell = () => {
      if (this.#ended) return;
      onFrame();
      video.requestVideoFrameCallback(tell);
    };
    video.requestVideoFrameCallback(tell);
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

  /** @returns {Promise<Frame>} */
  async frame() {
    return "VideoFrame" in self ? new VideoFrame(this.video) : createImageBitmap(this.video);
  }

  end() {
    this.#ended = true;
    const { srcObject, src } = this.video;
    this.video.pause();
    if (srcObject instanceof MediaStream) for (const track of srcObject.getTracks()) track.stop();
    if (src) URL.revokeObjectURL(src);
    this.video.removeAttribute("src");
    this.video.srcObject = null;
    this.video.load();
  }
}

/**
 * A picture or a video from a file. Throws Trouble where it is neither, or too large.
 * @param {Blob} file
 * @param {string} name
 * @param {() => void} onFrame
 * @returns {Promise<Still | Moving>}
 */
export async function openFile(file, name, onFrame) {
  if (file.size > MOST_BYTES) throw new Trouble(WORDS.tooLarge);
  const bitmap = file.type.startsWith("video/") ? null : await createImageBitmap(file).catch(() => null);
  if (!bitmap) return openVideo(file, name, onFrame);
  if (bitmap.width * bitmap.height > MOST_PIXELS) throw new Trouble(WORDS.tooLarge);
  return new Still(bitmap);
}

/** @param {Blob} file @param {string} name @param {() => void} onFrame */
async function openVideo(file, name, onFrame) {
  const video = silentVideo();
  video.src = URL.createObjectURL(file);
  video.loop = true;
  try {
    await video.play();
    if (!video.videoWidth) throw new Error("no pictures in it");
  } catch {
    URL.revokeObjectURL(video.src);
    throw new Trouble(unreadable(name));
  }
  return new Moving(video, onFrame);
}

/**
 * The camera. Throws Trouble where there is none or it may not be used.
 * @param {"user" | "environment"} facing on phones
 * @param {() => void} onFrame
 * @returns {Promise<Moving>}
 */
export async function openCamera(facing, onFrame) {
  if (!navigator.mediaDevices) throw new Trouble(WORDS.insecure);
  const video = silentVideo();
  try {
    const wanted = { facingMode: facing, width: { ideal: 1280 }, height: { ideal: 720 } };
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
    await video.play();
  } catch (error) {
    throw new Trouble(cameraTrouble(error));
  }
  return new Moving(video, onFrame);
}

function silentVideo() {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  return video;
}
