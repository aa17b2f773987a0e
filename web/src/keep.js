// Save the result as a picture or a clip.

const CLIPS = ["video/mp4;codecs=avc1.640028", "video/webm;codecs=vp9", "video/webm", "video/mp4"];
const RATE = 30; // maximum frames per second
const MOST = 1280; // maximum long side, pixels
const BITS = 8e6; // per second

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

/** Records what is drawn as a clip of one size with even sides, as encoders require. */
export class Recorder {
  /** @type {Blob[]} */
  #parts = [];
  #recorder;
  #stopped;
  #canvas = document.createElement("canvas");
  #pen = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d", { alpha: false }));

  /**
   * Throws if this browser cannot record.
   * @param {HTMLCanvasElement} drawn the first picture, which sets the aspect ratio of the clip
   */
  constructor(drawn) {
    const scale = MOST / Math.max(drawn.width, drawn.height);
    this.#canvas.width = 2 * Math.round((drawn.width * scale) / 2);
    this.#canvas.height = 2 * Math.round((drawn.height * scale) / 2);
    const mimeType = CLIPS.find((type) => MediaRecorder.isTypeSupported(type));
    const stream = this.#canvas.captureStream(RATE);
    this.#recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: BITS });
    this.#recorder.ondataavailable = ({ data }) => this.#parts.push(data);
    this.#stopped = new Promise((resolve) => {
      this.#recorder.onstop = this.#recorder.onerror = resolve;
    });
    this.add(drawn);
    this.#recorder.start(1000);
  }

  /** @param {HTMLCanvasElement} drawn the next picture, scaled to fit the clip */
  add(drawn) {
    const { width, height } = this.#canvas;
    const scale = Math.min(width / drawn.width, height / drawn.height);
    const [wide, high] = [drawn.width * scale, drawn.height * scale];
    this.#pen.clearRect(0, 0, width, height);
    this.#pen.drawImage(drawn, (width - wide) / 2, (height - high) / 2, wide, high);
  }

  /** @returns {Promise<{clip: Blob, ending: string}>} */
  async stop() {
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
    await this.#stopped;
    for (const track of this.#recorder.stream.getTracks()) track.stop();
    const type = this.#recorder.mimeType;
    return { clip: new Blob(this.#parts, { type }), ending: type.includes("mp4") ? "mp4" : "webm" };
  }
}
