// The worker: runs a model, so that the page stays responsive. The page downloads; the worker reaches no network.

import * as ort from "../vendor/ort.wasm.min.mjs";
import { BadInput } from "./checkpoint.js";

const MODULES = {
  "image-classification": "./image_classification.js",
  "image-segmentation": "./image_segmentation.js",
  "text-classification": "./text_classification.js",
  "tabular-classification": "./tabular.js",
  "tabular-regression": "./tabular.js",
  recommendation: "./recommendation.js",
};

/** An ONNX model. Arrays of integers become int64, others float32. */
class Session {
  static async open(bytes, wasm, threads) {
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.wasmPaths = { mjs: new URL("../vendor/ort-wasm-simd-threaded.mjs", import.meta.url).href };
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "error";
    // As in shared/session.py: int8 weights are computed with in float32.
    const extra = { session: { disable_quant_qdq: "1" } };
    return new Session(await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], extra }));
  }

  constructor(session) {
    this.session = session;
    this.inputs = session.inputNames;
    this.outputs = session.outputNames;
  }

  /** Run the model. `inputs` maps names to {data, dims}; the result maps names of outputs to {data, dims}. */
  async run(inputs) {
    const tensors = Object.entries(inputs).map(([name, { data, dims }]) => {
      const type = data instanceof BigInt64Array ? "int64" : "float32";
      return [name, new ort.Tensor(type, data, dims)];
    });
    return this.session.run(Object.fromEntries(tensors));
  }
}

let model;

async function open({ config, files, wasm, threads }) {
  const { Predictor } = await import(MODULES[config.task]);
  const { "onnx/model.onnx": onnx, ...others } = files;
  model = new Predictor(config, await Session.open(onnx, wasm, threads), others);
  await model.prepare?.();
}

self.onmessage = async ({ data: { id, method, args, isReported } }) => {
  if (isReported) args.push((progress) => self.postMessage({ id, progress }));
  try {
    self.postMessage({ id, result: method === "open" ? await open(...args) : await model[method](...args) });
  } catch (error) {
    const expected = error instanceof BadInput;
    if (!expected) console.error(error);
    const sentence = expected ? error.message : `The model stopped (${error.message ?? error}); reload the page.`;
    self.postMessage({ id, error: sentence, expected });
  }
};
self.postMessage({ id: 0, result: "ready" });
