// A model that runs in a worker.

import { BadInput, fetchFile, watch } from "./checkpoint.js";
import { sum } from "./numbers.js";

const MAX_THREADS = 4;
const PATIENCE = 120; // seconds without an answer or progress
const WASM = "vendor/onnxruntime-web/ort-wasm-simd-threaded.wasm";

export class Model {
  /**
   * Download a model and start it; `loaded` says when it is done.
   * @param {object} config - its gallery.json
   * @param {object} entry - the model in site.json
   * @param {object} site - the content of site.json
   * @param {(share: number) => void} report - called with the share of the download that is done
   * @param {number} most - threads; fewer where the page is not isolated, or there are fewer cores
   * @param {AbortSignal} signal - to stop it
   */
  constructor(config, entry, site, report, most = MAX_THREADS, signal = undefined) {
    this.config = config;
    // A worker from a blob has the Content-Security-Policy of the page; one from a file has none of its own.
    const code = new Blob([`import ${JSON.stringify(new URL("./worker.js", import.meta.url))};`], {
      type: "text/javascript",
    });
    const address = URL.createObjectURL(code);
    this.worker = new Worker(address, { type: "module" });
    const failed = new Promise((_, reject) => {
      this.worker.onerror = ({ message = "the browser gives no reason" }) =>
        reject(new Error(`The model cannot be started (${message}).`));
    });
    signal?.addEventListener("abort", () => this.worker.terminate());
    this.loaded = Promise.race([failed, this.load(entry, site, report, most, signal)]);
    const revoke = () => URL.revokeObjectURL(address);
    this.loaded.then(revoke, revoke);
  }

  async load(entry, site, report, most, signal) {
    const needed = Object.entries(this.config.files).filter(([, file]) => !file.optional);
    const places = needed.map(([name, file]) => {
      const isPacked = entry.files?.includes(`${entry.folder}/${name}.gz`);
      return [`${entry.folder}/${name.split("/").map(encodeURIComponent).join("/")}`, { ...file, isPacked }];
    });
    places.push([WASM, { ...site.vendor[WASM], isPacked: true }]);
    const total = sum(places.map(([, { bytes }]) => bytes));
    let done = 0;
    const add = (count) => report((done += count) / total);
    const others = new AbortController(); // of the other files, when one cannot be downloaded
    signal?.addEventListener("abort", () => others.abort());
    const downloads = places.map(([url, file]) => fetchFile(url, file, others.signal, add));
    const stored = await Promise.all(downloads).catch((error) => {
      others.abort();
      throw error;
    });
    report(1);
    const threads = crossOriginIsolated ? Math.min(most, navigator.hardwareConcurrency ?? 1) : 1;
    const parts = places.map(([url, file], index) => [url, stored[index], file]); // for checkFile
    const names = needed.map(([name]) => name);
    return this.send("open", [{ config: JSON.stringify(this.config), names, parts, threads }], undefined, stored);
  }

  /** Call a method of the predictor; `report` gets the share that is done, if the method takes long. */
  async call(method, args, report) {
    await this.loaded;
    return this.send(method, args, report);
  }

  send(method, args, report, moved = []) {
    const { port1, port2 } = new MessageChannel();
    return new Promise((resolve, reject) => {
      const sentence = "The model has not answered for two minutes; reload the page, or choose another model.";
      const watched = watch(PATIENCE, () => reject(new BadInput(sentence)));
      port1.onmessage = ({ data: { result, error, column, progress } }) => {
        watched.reset();
        if (progress !== undefined) return report?.(progress);
        watched.end();
        port1.close();
        if (error) reject(Object.assign(new Error(error), { column }));
        else resolve(result);
      };
      this.worker.postMessage({ method, args }, [port2, ...moved]);
    });
  }
}
