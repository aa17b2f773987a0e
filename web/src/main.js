// The page: what the controls do.

import "./style.css";
import { Recorder, asPicture, download } from "./keep.js";
import { keepForLater } from "./offline.js";
import { Painter, bestProvider } from "./painter.js";
import { Show } from "./show.js";
import { Moving, openCamera, openFile } from "./sources.js";
import { Trouble, WORDS } from "./words.js";

/** @typedef {import("./painter.js").Pair} Pair */

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);
const controls = /** @type {HTMLFieldSetElement} */ ($("controls"));
const canvas = /** @type {HTMLCanvasElement} */ ($("picture"));
const alpha = /** @type {HTMLInputElement} */ ($("alpha"));

const show = new Show(canvas, report, () => say(WORDS.failed));
/** @type {Recorder | null} */
let recorder = null;
/** @type {"user" | "environment"} */
let facing = "environment";
/** @type {Pair} */
let pair;
/** @type {"webgpu" | "wasm"} */
let provider;
let asked = 0; // sources and pairs asked for: the newest counts

/** @param {string} words */
function say(words) {
  $("message").textContent = words;
}

/** @param {import("./show.js").Report} seen */
function report({ width, height, rate, moves }) {
  const speed = moves ? ` · ${rate.toFixed(1)} frames/s` : "";
  $("status").textContent = `${width} × ${height}${speed} · ${$("status").dataset.engine}`;
  document.body.dataset.painted = String(Number(document.body.dataset.painted ?? 0) + 1);
  document.body.dataset.size = `${width}x${height}`;
}

/** @param {Pair} wanted */
async function choose(wanted) {
  const mine = ++asked;
  pair = wanted;
  describe();
  say(WORDS.loading);
  try {
    const painter = await Painter.open(wanted, provider);
    if (mine !== asked) return painter.end();
    show.paintBy(painter);
    engine(painter);
  } catch (error) {
    console.warn(error);
    if (mine === asked) say("WebAssembly" in self ? WORDS.noModel : WORDS.noWasm);
  }
}

/** @param {Painter} painter */
function engine(painter) {
  const gpu = painter.provider === "webgpu";
  const threads = painter.cores.paint;
  $("status").dataset.engine = gpu ? "WebGPU" : `WASM, ${threads} thread${threads > 1 ? "s" : ""}`;
  document.body.dataset.provider = painter.provider;
  say(gpu ? "" : self.crossOriginIsolated ? WORDS.noGpu : `${WORDS.noGpu} ${WORDS.oneThread}`);
}

/** Who wears what now. */
function describe() {
  const [people, rest] = show.swap ? [pair.background, pair.foreground] : [pair.foreground, pair.background];
  $("wears").textContent = `People and things: ${people.title}. The rest: ${rest.title}.`;
}

/** @param {() => Promise<import("./show.js").Source>} open */
async function watch(open) {
  say("");
  try {
    const source = await open();
    show.watch(source);
    const camera = source instanceof Moving && Boolean(source.video.srcObject);
    $("pause").hidden = !(source instanceof Moving);
    $("pause").setAttribute("aria-pressed", "false");
    $("flip").hidden = !(camera && (await cameras()) > 1);
    $("camera").setAttribute("aria-pressed", String(camera));
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    say(error.message);
  }
}

async function cameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind }) => kind === "videoinput").length;
}

const fresh = () => show.touch();
/** @param {File} file */
const openChosen = (file) => watch(() => openFile(file, file.name, fresh));
const openSample = () =>
  watch(async () => openFile(await (await fetch("./sample.jpg")).blob(), "sample.jpg", fresh));

/** @param {HTMLElement} button @returns {boolean} whether it is pressed now */
function toggle(button) {
  const pressed = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(pressed));
  return pressed;
}

/** @param {string} ending */
const fileName = (ending) => `duostyle-${pair.name}-${Number(alpha.value).toFixed(2)}.${ending}`;

const actions = {
  sample: openSample,
  open: () => $("file").click(),
  camera: () => watch(() => openCamera(facing, fresh)),
  flip: () => {
    facing = facing === "user" ? "environment" : "user";
    return actions.camera();
  },
  pause: () => {
    if (!(show.source instanceof Moving)) return;
    if (toggle($("pause"))) show.source.video.pause();
    else show.source.video.play();
  },
  swap: () => {
    show.swap = toggle($("swap"));
    describe();
    show.touch();
  },
  mask: () => {
    show.showsMask = toggle($("mask"));
    show.draw();
  },
  save: async () => {
    download(await asPicture(canvas), fileName("png"));
    say(WORDS.saved);
  },
  record: async () => {
    if (recorder) {
      const { clip, ending } = await recorder.stop();
      recorder = null;
      show.holdsSize = false;
      $("record").setAttribute("aria-pressed", "false");
      download(clip, fileName(ending));
      say(WORDS.recorded);
    } else if (Recorder.possible) {
      show.holdsSize = true;
      recorder = new Recorder(canvas);
      $("record").setAttribute("aria-pressed", "true");
    } else say(WORDS.cannotRecord);
  },
};

/** @param {boolean} on */
function compare(on) {
  if (show.compares === on) return;
  show.compares = on;
  $("compare").setAttribute("aria-pressed", String(on));
  show.draw();
}

function listen() {
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
  $("file").addEventListener("change", (/** @type {any} */ { target }) => {
    if (target.files[0]) openChosen(target.files[0]);
    target.value = ""; // the same file may be chosen again
  });
  alpha.addEventListener("input", () => {
    show.alpha = Number(alpha.value);
    $("value").textContent = show.alpha.toFixed(2);
    show.touch(true);
  });
  const held = $("compare");
  held.addEventListener("pointerdown", () => compare(true));
  for (const end of ["pointerup", "pointercancel", "pointerleave", "blur"]) {
    held.addEventListener(end, () => compare(false));
  }
  for (const [event, on] of /** @type {[string, boolean][]} */ ([["keydown", true], ["keyup", false]])) {
    held.addEventListener(event, (/** @type {KeyboardEvent} */ { key }) => {
      if (key === " " || key === "Enter") compare(on);
    });
  }
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) openChosen(file);
  });
}

/** @param {Pair[]} pairs */
function offer(pairs) {
  for (const each of pairs) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "pair", value: each.name });
    radio.checked = each === pairs[0];
    radio.addEventListener("change", () => choose(each));
    const paintings = [each.foreground, each.background].map(({ title, artist, picture }) =>
      Object.assign(new Image(), { src: picture, alt: `${title}, ${artist}` }),
    );
    label.append(radio, ...paintings);
    $("pairs").append(label);
  }
}

async function start() {
  say(WORDS.loading);
  listen();
  await keepForLater();
  const answer = await fetch("./pairs.json").catch(() => null);
  if (!answer?.ok) return say(WORDS.noModel);
  /** @type {Pair[]} */
  const pairs = await answer.json();
  offer(pairs);
  provider = await bestProvider();
  const side = Number(new URLSearchParams(location.search).get("side"));
  if (side) show.fix(side);
  controls.disabled = false;
  await Promise.all([choose(pairs[0]), openSample()]);
}

start();
