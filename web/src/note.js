// A line that can be dismissed, for good.

/**
 * @param {HTMLElement} line contains a `p` and a `button`
 * @param {string} key of the storage
 * @returns {(words: string) => void} shows the words unless they were dismissed
 */
export function dismissible(line, key) {
  const words = /** @type {HTMLElement} */ (line.querySelector("p"));
  line.querySelector("button")?.addEventListener("click", () => {
    remember(key, words.textContent ?? "");
    line.hidden = true;
  });
  return (text) => {
    words.textContent = text;
    line.hidden = !text || recall(key) === text;
  };
}

/** @param {string} key @returns {string | null} */
function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // not allowed
  }
}

/** @param {string} key @param {string} value */
function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // not allowed: dismissed for this visit
  }
}
