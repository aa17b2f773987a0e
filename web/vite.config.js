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
        .map((name) => String(name).replaceAll("\\", "/"))
        .filter((name) => /^[^.].*\.\w+$/.test(name)) // hosts deny what begins with a point
        .sort();
      const [large, small] = [files.filter((name) => LARGE.test(name)), files.filter((name) => !LARGE.test(name))];
      const worker = readFileSync("src/sw.js", "utf8");
      const contents = [worker, readFileSync("index.html"), ...small.map((name) => contentOf(bundle, name))];
      const version = contents.reduce((hash, each) => hash.update(each), createHash("sha256")).digest("hex");
      const source = worker
        .replace('"VERSION"', JSON.stringify(version.slice(0, 12)))
        .replace('["SMALL"]', JSON.stringify(["./", ...small]))
        .replace('["LARGE"]', JSON.stringify(large));
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
