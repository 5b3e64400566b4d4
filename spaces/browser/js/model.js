// A model that runs in a worker.

import { BadInput, download, readFiles } from "./checkpoint.js";

const MAX_THREADS = 4;
const WASM = "vendor/ort-wasm-simd-threaded.wasm";

/** A model in a worker. `call` waits until it is loaded. */
export class Model {
  constructor(config) {
    this.config = config;
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.calls = new Map();
    this.count = 0;
    this.worker.onmessage = ({ data: { id, result, error, expected, progress } }) => {
      const call = this.calls.get(id);
      if (!call) return;
      if (progress !== undefined) return call.report?.(progress);
      this.calls.delete(id);
      if (error) call.reject(expected ? new BadInput(error) : new Error(error));
      else call.resolve(result);
    };
    this.isReady = new Promise((resolve, reject) => this.calls.set(0, { resolve, reject }));
    this.worker.onerror = (event) => {
      const error = new Error(`The model cannot be started (${event.message ?? "the browser gives no reason"}).`);
      for (const call of this.calls.values()) call.reject(error);
    };
  }

  /**
   * Download the model and start it.
   * @param {object} entry - the model in site.json
   * @param {object} site - the content of site.json
   * @param {(share: number) => void} report - called with the share of the download that is done
   * @param {number} most - threads; fewer where the page is not isolated, or there are fewer cores
   */
  async load(entry, site, report, most = MAX_THREADS) {
    const wasm = { ...site.vendor[WASM], packed: true };
    const total = wasm.bytes + Object.values(this.config.files).reduce((sum, file) => sum + (file.optional ? 0 : file.bytes), 0);
    let done = 0;
    const add = (count) => report((done += count) / total);
    const files = readFiles(entry, this.config, add);
    const [bytes, binary] = await Promise.all([files, download(new URL(`../${WASM}`, import.meta.url).href, wasm, add)]);
    const threads = crossOriginIsolated ? Math.min(most, navigator.hardwareConcurrency ?? 1) : 1;
    await this.isReady;
    const moved = [...Object.values(bytes), binary].map((content) => content.buffer);
    await this.send("open", [{ config: this.config, files: bytes, wasm: binary.buffer, threads }], { transfer: moved });
  }

  /** Call a method of the predictor. */
  async call(method, ...args) {
    await this.loaded;
    return this.send(method, args);
  }

  /** Call a method with progress: `report` gets the share that is done. */
  async callWithProgress(report, method, ...args) {
    await this.loaded;
    return this.send(method, args, { report });
  }

  send(method, args, { transfer = [], report } = {}) {
    const id = (this.count += 1);
    return new Promise((resolve, reject) => {
      this.calls.set(id, { resolve, reject, report });
      this.worker.postMessage({ id, method, args, isReported: Boolean(report) }, transfer);
    });
  }
}
