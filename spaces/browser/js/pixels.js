// Decode pictures, and resize them as Pillow does: shared/images is the same in Python.

import { BadInput } from "./checkpoint.js";

const MAX_BYTES = 25_000_000;
const MAX_PIXELS = 50_000_000;
const MAX_ASPECT = 50;
const PRECISION = 22; // bits of a weight, as in Pillow

/**
 * Decode a picture: upright, over white, in RGBA.
 * @param {Blob} blob
 * @returns {Promise<{data: Uint8ClampedArray, width: number, height: number}>}
 */
export async function loadImage(blob) {
  if (!blob.size) throw new BadInput("The picture's file is empty.");
  if (blob.size > MAX_BYTES) throw new BadInput("The picture's file is larger than 25 MB; save it smaller.");
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" }).catch(() => null);
  if (!bitmap) throw new BadInput("This file cannot be read as a picture; save it as JPEG or PNG.");
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new BadInput("The picture may have at most 50 megapixels; make it smaller.");
  if (Math.max(width, height) > MAX_ASPECT * Math.min(width, height)) {
    throw new BadInput("The long side may be at most 50 times as long as the short side.");
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: context.getImageData(0, 0, width, height).data, width, height };
}

/** Return the first source index and the weights of each of `target` values on a line of `source` values. */
function findWeights(source, target) {
  const scale = source / target;
  const support = Math.max(scale, 1);
  return Array.from({ length: target }, (_, index) => {
    const center = (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(source, Math.trunc(center + support + 0.5));
    const weights = [];
    for (let place = first; place < last; place += 1) {
      weights.push(Math.max(0, 1 - Math.abs((place - center + 0.5) / support)));
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: Int32Array.from(weights, (weight) => Math.trunc(0.5 + (weight / total) * 2 ** PRECISION)) };
  });
}

/** Resize along one axis: `lines` lines of `from` values. Of a row, values are next to each other; of a column, not. */
function resizeLines(data, from, to, lines, isRow) {
  const result = new Uint8ClampedArray(to * lines * 4);
  const [stride, step] = isRow ? [4, 4 * from] : [4 * lines, 4];
  const [toStride, toStep] = isRow ? [4, 4 * to] : [4 * lines, 4];
  const plan = findWeights(from, to);
  const half = 1 << (PRECISION - 1);
  const mix = (line, index) => {
    const { first, weights } = plan[index];
    let red = half;
    let green = half;
    let blue = half;
    for (let k = 0, place = line * step + first * stride; k < weights.length; k += 1, place += stride) {
      red += data[place] * weights[k];
      green += data[place + 1] * weights[k];
      blue += data[place + 2] * weights[k];
    }
    const target = line * toStep + index * toStride;
    result[target] = red >> PRECISION;
    result[target + 1] = green >> PRECISION;
    result[target + 2] = blue >> PRECISION;
    result[target + 3] = 255;
  };
  // In the order of memory.
  if (isRow) for (let line = 0; line < lines; line += 1) for (let index = 0; index < to; index += 1) mix(line, index);
  else for (let index = 0; index < to; index += 1) for (let line = 0; line < lines; line += 1) mix(line, index);
  return result;
}

/** Return a picture of exactly this size, bilinear and antialiased: to the bit what Pillow's resize returns. */
export function resize({ data, width, height }, toWidth, toHeight) {
  let found = data;
  if (toWidth !== width) found = resizeLines(found, width, toWidth, height, true);
  if (toHeight !== height) found = resizeLines(found, height, toHeight, toWidth, false);
  return { data: found, width: toWidth, height: toHeight };
}

/** Return a part of a picture, black outside of it. */
export function crop({ data, width, height }, left, top, toWidth, toHeight) {
  const result = new Uint8ClampedArray(toWidth * toHeight * 4);
  const [first, last] = [Math.max(0, left), Math.min(width, left + toWidth)];
  for (let row = Math.max(0, top); row < Math.min(height, top + toHeight); row += 1) {
    const line = data.subarray(4 * (row * width + first), 4 * (row * width + last));
    result.set(line, 4 * ((row - top) * toWidth + first - left));
  }
  return { data: result, width: toWidth, height: toHeight };
}

/** Return the part of a picture that becomes a square, [left, top, edge]; see find_square in shared/images. */
export function findSquare(width, height, side, framing) {
  const choose = framing === "crop" ? Math.min : Math.max;
  const edge = Math.trunc(choose(width / side, height / side) * side);
  return [Math.trunc((width - edge) / 2), Math.trunc((height - edge) / 2), edge];
}

/** Return a picture as a square; see Picture.make_square in shared/images. */
export function makeSquare(image, size, framing, margin) {
  const side = size + 2 * margin;
  let square;
  if (framing === "squash") {
    square = resize(image, side, side);
  } else if (framing === "crop") {
    const [left, top, edge] = findSquare(image.width, image.height, side, framing);
    square = resize(crop(image, left, top, edge, edge), side, side);
  } else {
    const [left, top, edge] = findSquare(image.width, image.height, side, framing);
    const isWide = image.width > image.height;
    const strip = isWide ? resize(image, side, image.height) : resize(image, image.width, side);
    square = resize(isWide ? crop(strip, 0, top, side, edge) : crop(strip, left, 0, edge, side), side, side);
  }
  return margin ? crop(square, margin, margin, size, size) : square;
}

/** Return a picture as the model's input, (1, 3, height, width) float32, normalised. */
export function toTensor({ data, width, height }, mean, std) {
  const plane = width * height;
  const result = new Float32Array(3 * plane);
  for (let channel = 0; channel < 3; channel += 1) {
    const [scale, shift] = [1 / (255 * std[channel]), mean[channel] / std[channel]];
    for (let pixel = 0; pixel < plane; pixel += 1) {
      result[channel * plane + pixel] = data[4 * pixel + channel] * scale - shift;
    }
  }
  return { data: result, dims: [1, 3, height, width] };
}
