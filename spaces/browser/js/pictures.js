// Which pictures are accepted.

import { BadInput } from "./checkpoint.js";

const MAX_BYTES = 25_000_000;
const MAX_PIXELS = 50_000_000;
const MAX_ASPECT = 50;

/** Check the size of a picture's file. */
export function checkBytes(blob) {
  if (!blob.size) throw new BadInput("The picture's file is empty.");
  if (blob.size > MAX_BYTES) throw new BadInput("The picture's file is larger than 25 MB; save it smaller.");
}

/** Check the width and height of a picture, in pixels. */
export function checkShape(width, height) {
  if (width * height > MAX_PIXELS) throw new BadInput("The picture may have at most 50 megapixels; make it smaller.");
  if (Math.max(width, height) > MAX_ASPECT * Math.min(width, height)) {
    throw new BadInput("The long side may be at most 50 times as long as the short side.");
  }
}

/**
 * Check a picture by the header of its file, and return it; a small file may hold more pixels than there is memory.
 * @param {Blob} blob - the file; one that is no picture is refused when it is decoded
 * @returns {Promise<Blob>}
 */
export async function checkPicture(blob) {
  checkBytes(blob);
  const image = new Image(); // it is not decoded before it is drawn
  image.src = URL.createObjectURL(blob);
  await new Promise((resolve) => (image.onload = image.onerror = resolve));
  URL.revokeObjectURL(image.src);
  checkShape(image.naturalWidth, image.naturalHeight);
  return blob;
}
