// Caches the page for offline use, and adds the isolation headers that threads need on hosts that do
// not send them. The build fills in the version and the files.

const OURS = `duostyle ${self.registration.scope} `; // prefix: other pages of this host may have caches
const PAGE = OURS + "VERSION";
const MODELS = `${OURS}large`; // kept across versions: file names contain a hash of the content
const PAGE_FILES = ["SMALL"];
const MODEL_FILES = ["LARGE"]; // cached when first used
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

const address = (name) => new URL(name, self.registration.scope).href;

// A new version waits until all open pages are closed: they still need the old files.
self.addEventListener("install", (event) => {
  const fresh = PAGE_FILES.map((name) => new Request(address(name), { cache: "reload" }));
  event.waitUntil(caches.open(PAGE).then((cache) => cache.addAll(fresh)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(forgetOld().then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const local = new URL(request.url).origin === location.origin;
  if (local && request.method === "GET") event.respondWith(answer(event));
});

async function forgetOld() {
  for (const name of await caches.keys()) {
    if (name.startsWith(OURS) && name !== PAGE && name !== MODELS) await caches.delete(name);
  }
  const [models, wanted] = [await caches.open(MODELS), new Set(MODEL_FILES.map(address))];
  for (const { url } of await models.keys()) if (!wanted.has(url)) await models.delete(url);
}

async function answer(event) {
  const { request } = event;
  const isModel = MODEL_FILES.some((name) => address(name) === request.url);
  const cache = await caches.open(isModel ? MODELS : PAGE);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (kept) return isolated(kept);
  const fetched = await fetch(request);
  if (isModel && fetched.status === 200) {
    event.waitUntil(cache.put(request, fetched.clone()).catch(() => {})); // storage full: fetched again next time
  }
  return isolated(fetched);
}

function isolated(response) {
  if (!response.body) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
