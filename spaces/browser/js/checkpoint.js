// Download a checkpoint folder, and check every file against its SHA-256.

import { TASKS } from "./tasks.js";

/** An error with one sentence for a visitor: what was wrong and what is accepted. */
export class BadInput extends Error {}

/**
 * Download one file, and check its size and SHA-256.
 * @param {string} url - its address
 * @param {{sha256?: string, bytes?: number, isPacked?: boolean}} expected - what is expected of the file; `isPacked` if
 *     it is there as URL.gz, compressed
 * @param {AbortSignal} signal - to stop it
 * @param {(count: number) => void} report - called with the number of new bytes
 */
export async function download(url, { sha256, bytes, isPacked } = {}, signal, report = () => {}) {
  const name = url.split("/").slice(-2).join("/");
  const lost = new BadInput(`${name} cannot be downloaded; check the connection and reload the page.`);
  const response = await fetch(isPacked ? `${url}.gz` : url, { cache: "no-cache", signal }).catch(() => null);
  if (!response?.ok) throw lost;
  let size = 0;
  const count = new TransformStream({
    transform(part, stream) {
      size += part.length;
      if (size > bytes) return stream.error();
      report(part.length);
      stream.enqueue(part);
    },
  });
  const body = isPacked ? response.body.pipeThrough(new DecompressionStream("gzip")) : response.body;
  const content = await new Response(body.pipeThrough(count)).arrayBuffer().catch(() => {
    if (!(size > bytes)) throw lost;
    return new ArrayBuffer();
  });
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (sha256 && sha256 !== found) {
    throw new BadInput(`${name} is damaged: it is not the file that was published; reload the page.`);
  }
  return new Uint8Array(content);
}

/** Parse JSON to objects that inherit nothing, since a column or label may be called "constructor". */
export const parseJson = (text) => JSON.parse(text, (_, value) => disinherit(value));
const disinherit = (value) =>
  value && Object.getPrototypeOf(value) === Object.prototype ? Object.setPrototypeOf(value, null) : value;

/** Download a JSON file. */
export async function downloadJson(url, expected, signal) {
  const text = new TextDecoder().decode(await download(url, expected, signal));
  try {
    return parseJson(text);
  } catch {
    throw new BadInput(`${url} is not JSON; reload the page, or export the model again.`);
  }
}

/**
 * Read the gallery.json of a checkpoint folder.
 * @param {{folder: string, config?: {sha256: string, bytes: number}}} entry - the model in site.json
 * @param {AbortSignal} signal - to stop it
 */
export async function readConfig(entry, signal) {
  const config = await downloadJson(`${entry.folder}/gallery.json`, entry.config, signal);
  if (config?.format !== 2 || typeof config.files !== "object" || !config.about?.title) {
    throw new BadInput("This folder has no gallery.json of format 2; export the model again.");
  }
  if (!Object.hasOwn(TASKS, config.task)) throw new BadInput(`This page cannot run models for ${config.task}.`);
  return config;
}
