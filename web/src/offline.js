// Registers the service worker (sw.js): offline use, and threads on hosts that do not send isolation headers.

const PATIENCE = 4000; // milliseconds to wait for the service worker; the page works without it

/**
 * Register the service worker and wait until it controls the page, so that it caches what is loaded
 * from then on. Reloads the page once if that enables threads.
 * @returns {Promise<void>}
 */
export async function keepForLater() {
  const workers = navigator.serviceWorker;
  if (!workers || !import.meta.env.PROD) return;
  try {
    await workers.register("./sw.js", { scope: "./" });
  } catch {
    return; // not allowed, for example in a private window: the page needs the network
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

/** @returns {boolean} whether the browser is set to save data */
export function savesData() {
  return Boolean(/** @type {any} */ (navigator).connection?.saveData);
}

/**
 * Load the files that are not cached yet, so that the page is complete offline. Does nothing if the
 * browser is set to save data.
 * @param {string[]} files
 * @returns {Promise<void>}
 */
export async function loadTheRest(files) {
  if (savesData() || !navigator.serviceWorker?.controller) return;
  for (const file of files) {
    const known = await caches.match(new URL(file, document.baseURI).href);
    const answer = known ? null : await fetch(file).catch(() => null);
    await answer?.arrayBuffer().catch(() => null); // retried at the next visit
  }
}
