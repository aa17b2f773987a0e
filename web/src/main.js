// The page and its controls.

import "./style.css";
import { Brush } from "./brush.js";
import { holdToCompare } from "./compare.js";
import { Recorder, asPicture, download } from "./keep.js";
import { listenToLook } from "./look.js";
import { dismissible } from "./note.js";
import { keepForLater, loadTheRest, savesData } from "./offline.js";
import { Painter, bestProvider } from "./painter.js";
import { offer } from "./pairs.js";
import { press, toggle } from "./press.js";
import { Show } from "./show.js";
import { Moving, nextCamera, openCamera, openFile } from "./sources.js";
import { Thumbnails } from "./thumbnails.js";
import { View } from "./view.js";
import { Trouble, WORDS } from "./words.js";

/** @typedef {import("./painter.js").Pair} Pair */

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);
const canvas = /** @type {HTMLCanvasElement} */ ($("picture"));
const alpha = /** @type {HTMLInputElement} */ ($("alpha"));
const asked = new URLSearchParams(location.search);

const view = new View(canvas);
const show = new Show(view, report, busy, fail);
const note = dismissible($("note"), "dismissed");
const brush = new Brush(
  {
    button: $("brush"),
    tools: $("tools"),
    overlay: $("overlay"),
    cursor: $("cursor"),
    add: $("add"),
    erase: $("erase"),
    size: $("size"),
    undo: $("undo"),
    redo: $("redo"),
    reset: $("reset"),
    why: $("why"),
  },
  () => show.touch(),
);
/** @type {Thumbnails | null} */
let thumbnails = null; // none if the browser is set to save data
/** @type {Recorder | null} */
let recorder = null;
/** @type {Pair} */
let pair;
/** @type {"webgpu" | "wasm"} */
let provider;
let chosen = 0; // number of the latest pair that was requested; earlier requests are dropped
let opened = 0; // the same for sources
let loading = true; // whether the networks of the pair are being loaded

/** @param {string} words */
function say(words) {
  $("message").textContent = words;
}

/** @param {string[]} words messages to remove if one of them is shown */
function unsay(...words) {
  if (words.includes($("message").textContent)) say("");
}

/** Say that a picture is being painted. */
function busy() {
  if (!loading && !show.painter) return; // there is no model
  $("status").textContent = loading ? `${WORDS.painting} ${WORDS.loading}` : WORDS.painting;
  thumbnails?.pause();
}

/** @param {import("./show.js").Report} painted */
function report({ width, height, rate, moves, quick }) {
  unsay(WORDS.failed, WORDS.notPainted);
  const speed = moves && rate ? ` · ${rate.toFixed(1)} frames/s` : "";
  const loads = loading ? ` · ${WORDS.loading}` : "";
  $("status").textContent = `${width} × ${height}${speed} · ${$("status").dataset.engine}${loads}`;
  document.body.dataset.painted = String(Number(document.body.dataset.painted ?? 0) + 1);
  document.body.dataset.size = `${width}x${height}`;
  if (!quick) paintThumbnails();
}

function paintThumbnails() {
  const { source, swap } = show;
  if (source && !(source instanceof Moving) && view.mask) thumbnails?.later({ source, mask: view.mask, swap, provider });
}

/** @param {Error} error */
function fail(error) {
  console.warn(error);
  if (provider === "webgpu") {
    provider = "wasm"; // the GPU was lost, or its driver failed
    choose(pair);
  } else giveUp(WORDS.failed);
}

/** @param {string} words why nothing is being painted */
function giveUp(words) {
  loading = false;
  $("status").textContent = "\u00a0";
  say(words);
}

/** @param {Pair} wanted */
async function choose(wanted) {
  const mine = ++chosen;
  pair = wanted;
  describe();
  loading = true;
  if (!(show.source instanceof Moving)) busy();
  try {
    const painter = await Painter.open(wanted, provider);
    if (mine !== chosen) return painter.end();
    loading = false;
    show.paintBy(painter);
    introduce(painter);
    unsay(WORDS.noModel);
  } catch (error) {
    console.warn(error);
    if (mine === chosen) giveUp("WebAssembly" in self ? WORDS.noModel : WORDS.noWasm);
  }
}

/** @param {Painter} painter */
function introduce(painter) {
  provider = painter.provider;
  const gpu = provider === "webgpu";
  const threads = painter.cores.paint;
  $("status").dataset.engine = gpu ? "WebGPU" : `WASM, ${threads} thread${threads > 1 ? "s" : ""}`;
  note(gpu ? "" : self.crossOriginIsolated ? WORDS.noGpu : `${WORDS.noGpu} ${WORDS.oneThread}`);
}

/** Name the style of each region. */
function describe() {
  const [foreground, background] = show.swap ? [pair.background, pair.foreground] : [pair.foreground, pair.background];
  $("styles").textContent = `Foreground: ${foreground.title}. Background: ${background.title}.`;
}

/** @param {() => Promise<import("./show.js").Source>} open */
async function watch(open) {
  const mine = ++opened;
  try {
    const source = await open();
    if (mine !== opened) return source.end();
    if (loading || show.painter) say(""); // otherwise it says why there is no model
    thumbnails?.forget();
    brush.allow(!(source instanceof Moving));
    show.watch(source);
    const camera = source instanceof Moving ? source.camera : null;
    $("pause").hidden = !(source instanceof Moving);
    press($("pause"), false);
    press($("camera"), Boolean(camera));
    const other = camera && (await nextCamera(camera));
    if (mine === opened) $("flip").hidden = !other;
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    if (mine === opened) say(error.message);
  }
}

const fresh = () => show.touch();
const lost = () => say(WORDS.lostCamera);
/** @param {File} file */
const openChosen = (file) => watch(() => openFile(file, file.name, fresh));

async function fetchSample() {
  const answer = await fetch("./sample.jpg").catch(() => null);
  if (!answer?.ok) throw new Trouble(WORDS.noSample);
  return openFile(await answer.blob(), "sample.jpg", fresh);
}

/** @param {string} ending */
const fileName = (ending) => `duostyle-${pair.name}-${Number(alpha.value).toFixed(2)}.${ending}`;

const actions = {
  sample: () => watch(fetchSample),
  open: () => $("file").click(),
  camera: () => {
    const on = show.source instanceof Moving && show.source.camera;
    return on ? actions.sample() : watch(() => openCamera(null, fresh, lost));
  },
  flip: async () => {
    const track = show.source instanceof Moving && show.source.camera;
    const next = track && (await nextCamera(track));
    if (!next) return;
    show.leave(); // phones can open only one camera at a time
    await watch(() => openCamera(next, fresh, lost));
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
    view.showsMask = toggle($("mask"));
    view.draw();
  },
  save: async () => {
    if (!view.isPainted) return say(WORDS.notPainted);
    download(await asPicture(canvas), fileName("png"));
    say(WORDS.saved);
  },
  record: async () => {
    if (!recorder) return record();
    const ended = recorder;
    recorder = null;
    view.onDraw = () => {};
    press($("record"), false);
    const { clip, ending } = await ended.stop();
    download(clip, fileName(ending));
    say(WORDS.recorded);
  },
};

function record() {
  try {
    const made = new Recorder(canvas);
    recorder = made;
    view.onDraw = (drawn) => made.add(drawn);
    press($("record"), true);
  } catch (error) {
    console.warn(error);
    say(WORDS.cannotRecord);
  }
}

function listen() {
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
  holdToCompare($("compare"), view);
  listenToLook(view, show);
  $("file").addEventListener("change", (/** @type {any} */ { target }) => {
    if (target.files[0]) openChosen(target.files[0]);
    target.value = ""; // so that the same file can be chosen again
  });
  alpha.addEventListener("input", () => {
    show.alpha = Number(alpha.value);
    $("value").textContent = show.alpha.toFixed(2);
    show.touch(true);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) openChosen(file);
  });
}

async function start() {
  busy();
  listen();
  alpha.value = "0"; // some browsers restore the previous value
  show.onMask = (mask) => brush.take(mask);
  const sample = actions.sample(); // shown at once
  await keepForLater();
  const answer = await fetch("./pairs.json").catch(() => null);
  if (!answer?.ok) return giveUp(WORDS.noModel);
  /** @type {Pair[]} */
  const pairs = await answer.json();
  provider = await bestProvider();
  const place = offer($("pairs"), pairs, choose);
  const side = Number(asked.get("side"));
  if (side) show.fix(side);
  $("controls").disabled = false;
  await Promise.all([choose(pairs[0]), sample]);
  await loadTheRest(pairs.flatMap(({ mask, paint }) => [mask, paint]));
  if (savesData()) return;
  thumbnails = new Thumbnails(pairs, place);
  if (view.isPainted) paintThumbnails();
}

start();
