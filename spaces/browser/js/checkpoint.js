// Download a checkpoint folder, and check every file against its SHA-256.

import { sum } from "./numbers.js";
import { TASKS } from "./tasks.js";

/** An error with one sentence for a visitor: what was wrong and what is accepted. */
export class BadInput extends Error {}

const SPARE = 1.001; // a compressed file may be so many times as large as its content, and 1,000 bytes more
const MOST_JSON = 10_000_000; // bytes, where its size is not known before
const MOST = 1_000_000_000; // bytes of a model
const MOST_FILES = 50;
const MOST_COLUMNS = 1000;
const MOST_VALUES = 100_000; // of all columns
const PATIENCE = 60; // seconds without a byte of a download
const SITE = new URL("../", import.meta.url).href;
const KEPT = `gallery ${SITE} models`; // the cache of checked files; see sw.js
const shorten = (url) => url.split("/").slice(-2).join("/");
const ON_HUB = /\/([^/]+\/[^/]+)\/resolve\/[0-9a-f]{40}\/(.+)/; // USER/REPO and the file's path

/** Return a stream that reports the sizes of the parts that pass, and ends after `most` bytes. */
function limit(most, report) {
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

/** Call `stop` once so many seconds have passed without `reset`; while the page sleeps, they do not pass. */
export function watch(seconds, stop) {
  let left = seconds;
  const timer = setInterval(() => {
    left -= 1;
    if (left > 0) return;
    clearInterval(timer);
    stop();
  }, 1000);
  return { reset: () => void (left = seconds), end: () => clearInterval(timer) };
}

/** Return why a file cannot be downloaded. The Hub answers 401 for a model that does not exist, too. */
function explainFailure(url, status) {
  const [, model, path] = url.match(ON_HUB) ?? [];
  if (model && [401, 403, 404].includes(status))
    return `There is no public model ${model} on the Hub with ${path} at this commit; check the address.`;
  if (!model && status === 404) return `${shorten(url)} is missing on this site; publish the site again.`;
  return `${shorten(url)} cannot be downloaded; check the connection and reload the page.`;
}

/**
 * Download one file, unless it was kept before; return its bytes as they are stored.
 * @param {string} url - its address
 * @param {{sha256?: string, bytes?: number, isPacked?: boolean}} expected - what is expected of the file; `isPacked` if
 *     it is there as URL.gz, compressed
 * @param {AbortSignal} signal - to stop it
 * @param {(count: number) => void} report - called with the number of new bytes of its content
 */
export async function fetchFile(url, { sha256, bytes = MOST_JSON, isPacked } = {}, signal, report = () => {}) {
  let status;
  const stopped = new AbortController();
  const stop = () => stopped.abort();
  signal?.addEventListener("abort", stop);
  const watched = watch(PATIENCE, stop);
  const kept = sha256 && (await inKept((cache) => cache.match(makeKey(url, sha256))));
  try {
    signal?.throwIfAborted();
    const response = kept ?? (await fetch(isPacked ? `${url}.gz` : url, { cache: "no-cache", signal: stopped.signal }));
    status = response.status;
    if (!response.ok) throw new Error();
    const ratio = isPacked ? bytes / (response.headers.get("content-length") || bytes) : 1;
    const most = isPacked ? SPARE * bytes + 1000 : bytes;
    const count = (size) => {
      watched.reset();
      report(ratio * size);
    };
    return await new Response(response.body.pipeThrough(limit(most, count))).arrayBuffer();
  } catch {
    throw new BadInput(explainFailure(url, status));
  } finally {
    watched.end();
    signal?.removeEventListener("abort", stop);
  }
}

/** Return what a task returns for the cache of checked files; nothing where the browser allows no storage. */
const inKept = async (task) => {
  try {
    return await task(await caches.open(KEPT));
  } catch {
    return undefined;
  }
};

/** Return the key of a file in that cache: of another file at the same address, it differs. */
const makeKey = (url, sha256) => `${new URL(url, SITE)}?${sha256}`;

/** Keep a checked file of this site as it is stored, for visits without network. */
export async function keepFile(url, stored, { sha256 }) {
  const key = makeKey(url, sha256);
  if (!key.startsWith(SITE)) return;
  await inKept(async (cache) => {
    if (await cache.match(key)) return;
    await cache.delete(key, { ignoreSearch: true }); // the file before an update
    await cache.put(key, new Response(stored, { headers: { "content-length": stored.byteLength } }));
  });
}

/** Remove a damaged file from all caches, so that it is downloaded again. */
async function forget(url) {
  const address = new URL(url, SITE).href;
  const names = await caches.keys().catch(() => []);
  const remove = async (name) => {
    const cache = await caches.open(name);
    for (const one of [address, `${address}.gz`]) await cache.delete(one, { ignoreSearch: true });
  };
  await Promise.all(names.map(remove)).catch(() => {});
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
    await forget(url);
    throw new BadInput(
      `${shorten(url)} is damaged, or has just been updated; close other tabs of this site and reload the page.`,
    );
  }
  return new Uint8Array(content);
}

/** Download one file, check it, and keep it if its hash is known. */
export async function download(url, expected, signal) {
  const stored = await fetchFile(url, expected, signal);
  const content = await checkFile(url, stored, expected);
  if (expected?.sha256) await keepFile(url, stored, expected);
  return content;
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

/** Check that labels, columns and values are texts, and not more than a page can show. */
function checkNames({ labels = [], columns = [], categories }) {
  const values = Object.values(categories ?? {});
  const areTexts = (list) => Array.isArray(list) && list.every((one) => typeof one === "string");
  const differ = (list) => new Set(list).size === list.length;
  if (![labels, columns, ...values].every(areTexts) || ![labels, columns].every(differ)) {
    throw new BadInput("The labels or columns in gallery.json are no texts, or repeated; export the model again.");
  }
  const count = values.flat().length;
  if (columns.length > MOST_COLUMNS || count > MOST_VALUES) {
    throw new BadInput(
      `The model has ${columns.length} columns with ${count} values; a page shows at most ${MOST_COLUMNS} with ${MOST_VALUES}.`,
    );
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
  checkNames(config);
  if (config.temperature !== undefined && !(config.temperature > 0)) {
    throw new BadInput("The temperature in gallery.json must be above 0; export the model again.");
  }
  const needed = Object.entries(config.files).filter(([, file]) => !file.optional);
  if (needed.length > MOST_FILES)
    throw new BadInput(`The model has ${needed.length} files; a page loads at most ${MOST_FILES}.`);
  for (const [name, { sha256, bytes }] of needed) {
    const isInside = name.split("/").every((part) => !["", ".", ".."].includes(part));
    if (!isInside) throw new BadInput(`${name} lies outside the model's folder; export the model again.`);
    if (!/^[0-9a-f]{64}$/.test(sha256) || !Number.isInteger(bytes) || bytes < 0) {
      throw new BadInput(`gallery.json has no SHA-256 or size of ${name}; export the model again.`);
    }
  }
  const total = sum(needed.map(([, { bytes }]) => bytes));
  if (total > MOST) throw new BadInput(`The model has ${total} bytes; a page loads at most ${MOST}.`);
  return config;
}
