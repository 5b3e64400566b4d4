// Download a checkpoint folder, and check every file against its SHA-256.

/** An error with one sentence for a visitor: what was wrong and what is accepted. */
export class BadInput extends Error {}

export const TASKS = [
  "image-classification", "image-segmentation", "text-classification", "tabular-classification", "tabular-regression",
  "recommendation",
];

/**
 * Return the SHA-256 of some bytes as 64 hexadecimal digits.
 * @param {Uint8Array} bytes
 */
export async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Download one file, and check its size and hash.
 * @param {string} url - the address of the file; with `entry.packed`, the file there is compressed with gzip
 * @param {{sha256?: string, bytes?: number, packed?: boolean}} entry - what is expected of the (unpacked) file
 * @param {(count: number) => void} report - called with the number of new bytes
 */
export async function download(url, entry = {}, report = () => {}) {
  const name = new URL(url).pathname.split("/").slice(-2).join("/");
  const response = await fetch(url + (entry.packed ? ".gz" : "")).catch(() => null);
  if (!response?.ok) throw new BadInput(`${name} cannot be downloaded; check the connection and reload the page.`);
  let stream = response.body;
  if (entry.packed) stream = stream.pipeThrough(new DecompressionStream("gzip"));
  const parts = [];
  let size = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    size += value.length;
    if (entry.bytes && size > entry.bytes) break;
    report(value.length);
  }
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  const isRight = (entry.bytes ?? size) === size && (!entry.sha256 || entry.sha256 === (await sha256(bytes)));
  if (!isRight) throw new BadInput(`${name} is damaged: it is not the file that was published; reload the page.`);
  return bytes;
}

/**
 * Read the gallery.json of a checkpoint folder.
 * @param {{folder: string, config?: {sha256: string, bytes: number}}} entry - the model in site.json
 */
export async function readConfig(entry) {
  const bytes = await download(new URL("gallery.json", entry.folder).href, entry.config);
  let config;
  try {
    config = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new BadInput("gallery.json cannot be read; export the model again.");
  }
  if (config?.format !== 2 || typeof config.files !== "object" || !config.about?.title) {
    throw new BadInput("This folder has no gallery.json of format 2; export the model again.");
  }
  if (!TASKS.includes(config.task)) throw new BadInput(`This page cannot run models for ${config.task}.`);
  return config;
}

/**
 * Download the files of a checkpoint folder that serving needs.
 * @returns {Promise<Record<string, Uint8Array>>} the content of each file by its name
 */
export async function readFiles(entry, config, report) {
  const needed = Object.entries(config.files).filter(([, file]) => !file.optional);
  const packed = new Set(entry.packed ?? []);
  const all = needed.map(async ([name, file]) => {
    if (name.includes("..") || name.startsWith("/")) throw new BadInput(`${name} lies outside the model's folder.`);
    const url = new URL(name, entry.folder).href;
    return [name, await download(url, { ...file, packed: packed.has(name) }, report)];
  });
  return Object.fromEntries(await Promise.all(all));
}
