// The worker: unpacks, checks and runs a model, so that the page stays responsive. It reaches no network.

import * as ort from "../vendor/onnxruntime-web/ort.wasm.min.mjs";
import { BadInput, checkFile, keepFile, parseJson } from "./checkpoint.js";
import { TASKS } from "./tasks.js";

let model;

async function open({ config: text, names, parts, threads }) {
  const config = parseJson(text);
  const contents = await Promise.all(parts.map((part) => checkFile(...part)));
  const ofModel = parts.slice(0, names.length); // the last part is ONNX Runtime, which the service worker keeps
  ofModel.forEach((part) => keepFile(...part));
  const files = Object.fromEntries(names.map((name, index) => [name, contents[index]]));
  const wasm = contents.at(-1).buffer;
  const loader = new URL("../vendor/onnxruntime-web/ort-wasm-simd-threaded.mjs", import.meta.url).href;
  Object.assign(ort.env.wasm, { wasmBinary: wasm, wasmPaths: { mjs: loader }, numThreads: threads });
  ort.env.logLevel = "error";
  // As in shared/session.py: int8 weights are computed with in float32.
  const options = { executionProviders: ["wasm"], extra: { session: { disable_quant_qdq: "1" } } };
  const session = await ort.InferenceSession.create(files["onnx/model.onnx"], options);
  const { default: Predictor } = await import(TASKS[config.task].predictor);
  model = new Predictor(config, session, files);
  await model.prepare?.();
}

self.onmessage = async ({ data: { method, args }, ports: [port] }) => {
  const report = (progress) => port.postMessage({ progress });
  try {
    port.postMessage({ result: await (method === "open" ? open(...args) : model[method](...args, report)) });
  } catch (error) {
    if (error instanceof BadInput) return port.postMessage({ error: error.message, column: error.column });
    console.error(error);
    port.postMessage({ error: `The model stopped (${error.message ?? error}); reload the page.` });
  }
};
