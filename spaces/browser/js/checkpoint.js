// Download a checkpoint folder, and check every file against its SHA-256.

import { TASKS } from "./tasks.js";

/** An error with one sentence for a visitor: what was wrong and what is accepted. */
export class BadInput extends Error {}

const SPARE = 1000; // bytes by which a compressed file may be larger than its content
const shorten = (url) => url.split("/").slice(-2).join("/");

/** Return a stream that reports the sizes of the parts that pass, and ends after `most` bytes. */
function limit(most = Infinity, report) {
  let size = 0;
  return new TransformStream({
    transform(part, stream) {
      size += part.length;
      if (size > most) return stream.terminate();
      report(part.length);
      stream.enqueue(part);
    },
  });
}

/**
 * Download one file; return its bytes as they are stored.
 * @param {string} url - its address
 * @param {{bytes?: number, isPacked?: boolean}} expected - what is expected of the file; `isPacked` if it is there as
 *     URL.gz, compressed
 * @param {AbortSignal} signal - to stop it
 * @param {(count: number) => void} report - called with the number of new bytes of its content
 */
export async function fetchFile(url, { bytes, isPacked } = {}, signal, report = () => {}) {
  const lost = () => new BadInput(`${shorten(url)} cannot be downloaded; check the connection and reload the page.`);
  try {
    const response = await fetch(isPacked ? `${url}.gz` : url, { cache: "no-cache", signal });
    if (!response.ok) throw lost();
    const ratio = isPacked ? bytes / (response.headers.get("content-length") || bytes) : 1;
    const most = bytes && bytes + (isPacked ? SPARE : 0);
    const counted = response.body.pipeThrough(limit(most, (count) => report(ratio * count)));
    return await new Response(counted).arrayBuffer();
  } catch {
    throw lost();
  }
}

/** Unpack a gzip; return its content, and nothing if that is longer than it may be. */
async function unpack(stored, bytes) {
  // Firefox does not finish Blob.stream() or Response in a worker while that of a page left just before is suspended.
  const { readable, writable } = new DecompressionStream("gzip");
  const [writer, reader] = [writable.getWriter(), readable.getReader()];
  const end = () => writer.close();
  writer
    .write(stored)
    .then(end)
    .catch(() => {}); // the reader gets the error, too
  const content = new Uint8Array(bytes);
  for (let size = 0; ;) {
    const { done, value } = await reader.read();
    if (done) return content.buffer;
    if (size + value.length > bytes) return new ArrayBuffer();
    content.set(value, size);
    size += value.length;
  }
}

/**
 * Check a downloaded file; return its content.
 * @param {string} url - its address
 * @param {ArrayBuffer} stored - what `fetchFile` returned
 * @param {{sha256?: string, bytes?: number, isPacked?: boolean}} expected - as for `fetchFile`
 */
export async function checkFile(url, stored, { sha256, bytes, isPacked } = {}) {
  const content = isPacked ? await unpack(stored, bytes).catch(() => new ArrayBuffer()) : stored;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (sha256 && sha256 !== found) {
    throw new BadInput(`${shorten(url)} is damaged: it is not the file that was published; reload the page.`);
  }
  return new Uint8Array(content);
}

/** Download one file, and check it. */
export async function download(url, expected, signal) {
  return checkFile(url, await fetchFile(url, expected, signal), expected);
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
