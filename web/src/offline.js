// The service worker (sw.js): the page without a network, and with threads on hosts that do not isolate it.

const PATIENCE = 4000; // milliseconds: without it the page works too

/**
 * Register, and wait until what is loaded from now on is kept. Reloads the page once where that
 * gives it threads.
 * @returns {Promise<void>}
 */
export async function keepForLater() {
  const workers = navigator.serviceWorker;
  if (!workers || !import.meta.env.PROD) return;
  try {
    await workers.register("./sw.js", { scope: "./" });
  } catch {
    return; // not allowed here (a private window, say): the page just needs its network
  }
  if (!workers.controller) {
    const taken = new Promise((resolve) => workers.addEventListener("controllerchange", resolve, { once: true }));
    await Promise.race([taken, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  }
  if (workers.controller && !self.crossOriginIsolated && !sessionStorage.getItem("reloaded")) {
    sessionStorage.setItem("reloaded", "yes");
    location.reload();
    await new Promise(() => {});
  }
}

/**
 * Load what has not been loaded yet, for the service worker to keep: nothing is missing then when the
 * network is. Not where the reader saves data.
 * @param {string[]} files
 * @returns {Promise<void>}
 */
export async function loadTheRest(files) {
  const saves = /** @type {any} */ (navigator).connection?.saveData;
  if (saves || !navigator.serviceWorker?.controller) return;
  for (const file of files) {
    const known = await caches.match(new URL(file, document.baseURI).href);
    const answer = known ? null : await fetch(file).catch(() => null);
    await answer?.arrayBuffer().catch(() => null); // not now, then at the next visit
  }
}
