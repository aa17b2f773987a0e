// Take what was painted home: a picture, or a clip.

const CLIPS = ["video/mp4;codecs=avc1.42E01F", "video/webm;codecs=vp9", "video/webm"];
const RATE = 30; // frames a second at most

/**
 * @param {Blob} blob
 * @param {string} name
 */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {Promise<Blob>} a PNG
 */
export function asPicture(canvas) {
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/png"),
  );
}

/** What is drawn on a canvas, recorded. */
export class Recorder {
  /** @type {Blob[]} */
  #parts = [];
  #recorder;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    const mimeType = CLIPS.find((type) => MediaRecorder.isTypeSupported(type));
    this.#recorder = new MediaRecorder(canvas.captureStream(RATE), { mimeType, videoBitsPerSecond: 8e6 });
    this.#recorder.ondataavailable = ({ data }) => this.#parts.push(data);
    this.#recorder.start(1000);
  }

  /** @returns {boolean} whether this browser can */
  static get possible() {
    return "MediaRecorder" in self && "captureStream" in HTMLCanvasElement.prototype;
  }

  /** @returns {Promise<{clip: Blob, ending: string}>} */
  async stop() {
    const stopped = new Promise((resolve) => (this.#recorder.onstop = resolve));
    this.#recorder.stop();
    for (const track of this.#recorder.stream.getTracks()) track.stop();
    await stopped;
    const type = this.#recorder.mimeType;
    return { clip: new Blob(this.#parts, { type }), ending: type.includes("mp4") ? "mp4" : "webm" };
  }
}
