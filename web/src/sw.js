// Keeps the page for the time without a network, and isolates it (threads share memory only then)
// on hosts that send no such headers. The build fills in the version and the files.

const OURS = `duostyle ${self.registration.scope} `; // other pages of this host have caches too
const PAGE = OURS + "VERSION";
const MODELS = `${OURS}large`; // names change with what is in them: they outlive versions
const SMALL = ["SMALL"];
const LARGE = ["LARGE"];
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

const address = (name) => new URL(name, self.registration.scope).href;

// A newer version waits until the page is closed everywhere: an open one still needs its own files.
self.addEventListener("install", (event) => {
  const fresh = SMALL.map((name) => new Request(address(name), { cache: "reload" }));
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
  const [models, wanted] = [await caches.open(MODELS), new Set(LARGE.map(address))];
  for (const { url } of await models.keys()) if (!wanted.has(url)) await models.delete(url);
}

async function answer(event) {
  const { request } = event;
  const large = LARGE.some((name) => address(name) === request.url);
  const cache = await caches.open(large ? MODELS : PAGE);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (kept) return isolated(kept);
  const fetched = await fetch(request);
  if (large && fetched.status === 200) {
    event.waitUntil(cache.put(request, fetched.clone()).catch(() => {})); // no room: fetched again
  }
  return isolated(fetched);
}

function isolated(response) {
  if (!response.body) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
