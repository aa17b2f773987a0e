// The page is static: one folder, any host. Beside the bundle it writes sw.js, which has to know the
// bundle's files to keep them for the time without a network.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { defineConfig } from "vite";

const LARGE = /\.(wasm|onnx)$/; // kept when they are first used, not before

/** @returns {import("vite").Plugin} */
function serviceWorker() {
  return {
    name: "service-worker",
    generateBundle(_, bundle) {
      const files = [...Object.keys(bundle), ...readdirSync("public", { recursive: true })]
        .map(String)
        .filter((name) => /\.\w+$/.test(name) && !LARGE.test(name))
        .sort();
      const contents = files.map((name) => contentOf(bundle, name));
      const version = createHash("sha256").update(contents.join()).digest("hex").slice(0, 12);
      const source = readFileSync("src/sw.js", "utf8")
        .replace('"VERSION"', JSON.stringify(version))
        .replace('["FILES"]', JSON.stringify(["./", ...files]));
      this.emitFile({ type: "asset", fileName: "sw.js", source });
    },
  };
}

/** What the version depends on: hashed names say it all, files of public do not. */
function contentOf(bundle, name) {
  return name in bundle ? name : createHash("sha256").update(readFileSync(`public/${name}`)).digest("hex");
}

export default defineConfig({
  base: "./",
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser"] },
  worker: { format: "es" },
  build: { target: "es2022", chunkSizeWarningLimit: 300 },
  plugins: [serviceWorker()],
});
