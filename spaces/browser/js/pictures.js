// Which pictures are accepted: checked before a browser decodes one, since a small file may hold more pixels than there
// is memory.

import { BadInput } from "./checkpoint.js";

const MAX_BYTES = 25_000_000;
const MAX_PIXELS = 50_000_000;
const MAX_ASPECT = 50;
const UNREADABLE = "This file cannot be read as a picture; save it as JPEG or PNG.";

/**
 * Check a picture by the bytes of its file, and return it without its type, which may be wrong.
 * @param {Blob} blob
 * @returns {Promise<Blob>}
 */
export async function checkPicture(blob) {
  if (!blob.size) throw new BadInput("The picture's file is empty.");
  if (blob.size > MAX_BYTES) throw new BadInput("The picture's file is larger than 25 MB; save it smaller.");
  const [width, height] = readSize(new DataView(await blob.arrayBuffer()));
  if (!(width && height)) throw new BadInput(UNREADABLE);
  if (width * height > MAX_PIXELS) throw new BadInput("The picture may have at most 50 megapixels; make it smaller.");
  if (Math.max(width, height) > MAX_ASPECT * Math.min(width, height)) {
    throw new BadInput("The long side may be at most 50 times as long as the short side.");
  }
  return blob.slice();
}

/** Decode a picture that has been checked. */
export async function decode(blob, options) {
  const bitmap = await createImageBitmap(await checkPicture(blob), options).catch(() => null);
  if (!bitmap) throw new BadInput(UNREADABLE);
  return bitmap;
}

/** Return the width and height that a picture's file is decoded at; [] if its header cannot be read. */
function readSize(view) {
  const start = String.fromCharCode(...new Uint8Array(view.buffer).subarray(0, 30));
  const [, read] = READERS.find(([signature]) => signature.test(start)) ?? [];
  try {
    return read?.(view, start) ?? [];
  } catch (error) {
    if (error instanceof RangeError) return []; // the file ends too early
    throw error;
  }
}

const READERS = [
  [/^\x89PNG\r\n\x1a\n.{4}IHDR/s, (view) => [view.getUint32(16), view.getUint32(20)]],
  [/^\xff\xd8\xff/, readJpeg],
  [/^GIF8[79]a/, readGif],
  [/^BM.{12}\x0c\0\0\0/s, (view) => [view.getUint16(18, true), view.getUint16(20, true)]], // of OS/2
  [/^BM/, (view) => [view.getInt32(18, true), view.getInt32(22, true)].map(Math.abs)],
  [/^RIFF.{4}WEBPVP8 .{7}\x9d\x01\x2a/s, (view) => [26, 28].map((place) => view.getUint16(place, true) & 0x3fff)],
  [/^RIFF.{4}WEBPVP8L/s, (view) => [0, 14].map((bit) => ((view.getUint32(21, true) >> bit) & 0x3fff) + 1)],
  [/^RIFF.{4}WEBPVP8X/s, (view) => [23, 26].map((place) => (view.getUint32(place, true) >>> 8) + 1)],
  [/^.{4}ftyp/s, readAvif],
];

/** Return the size in a JPEG's frame header, which comes after any metadata. */
function readJpeg(view) {
  for (let place = 2; ;) {
    while (view.getUint8(place) !== 0xff) place += 1;
    while (view.getUint8(place) === 0xff) place += 1;
    const marker = view.getUint8(place);
    place += 1;
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return [view.getUint16(place + 5), view.getUint16(place + 3)];
    }
    if (marker >= 0xd8 && marker <= 0xda) return []; // a start, an end or pixels
    if (marker > 1 && !(marker >= 0xd0 && marker <= 0xd7)) place += Math.max(2, view.getUint16(place));
  }
}

/** Return the size of a GIF's screen, which grows to its first frame. */
function readGif(view) {
  const flags = view.getUint8(10);
  let place = 13 + (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);
  while (view.getUint8(place) === 0x21) {
    for (place += 2; view.getUint8(place);) place += 1 + view.getUint8(place);
    place += 1;
  }
  if (view.getUint8(place) !== 0x2c) return [];
  const [left, top, width, height] = [1, 3, 5, 7].map((offset) => view.getUint16(place + offset, true));
  return [Math.max(view.getUint16(6, true), left + width), Math.max(view.getUint16(8, true), top + height)];
}

/** Return the largest size among the properties of an AVIF, or of a HEIC, which some browsers decode. */
function readAvif(view, start) {
  if (/^.{8}(avis|hevc|hevx|msf1)/s.test(start)) return []; // a sequence: a browser takes the size of its track
  let place = 0;
  while (view.getUint32(place + 4) !== 0x6d657461) {
    // The box meta may follow others; a size of 0 or 1 would say that it is written elsewhere.
    if (view.getUint32(place) < 8) return [];
    place += view.getUint32(place);
  }
  const end = Math.min(place + view.getUint32(place), view.byteLength) - 16;
  let found = [0, 0];
  for (; place <= end; place += 1) {
    if (view.getUint32(place) !== 0x69737065) continue; // ispe
    const size = [view.getUint32(place + 8), view.getUint32(place + 12)];
    if (size[0] * size[1] > found[0] * found[1]) found = size;
  }
  return found;
}
