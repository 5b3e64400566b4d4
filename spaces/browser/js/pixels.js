// Decode pictures, and resize them as Pillow does: shared/images is the same in Python.

import { Tensor } from "../vendor/onnxruntime-web/ort.wasm.min.mjs";
import { BadInput } from "./checkpoint.js";
import { range, sum } from "./numbers.js";
import { decode } from "./pictures.js";

const PRECISION = 22; // bits of a weight, as in Pillow
const HALF = 1 << (PRECISION - 1);
const SAFE_PIXELS = 2 ** 24; // of a canvas, in every browser

/**
 * Decode a picture: upright, over white, in RGBA.
 * @param {Blob} blob
 * @returns {Promise<{data: Uint8ClampedArray, width: number, height: number}>}
 */
export async function loadImage(blob) {
  const bitmap = await decode(blob, { colorSpaceConversion: "none" });
  const fitting = Math.sqrt(SAFE_PIXELS / (bitmap.width * bitmap.height));
  for (const scale of fitting < 1 ? [1, fitting] : [1]) {
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.floor(side * scale)));
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0, width, height);
    const image = context.getImageData(0, 0, width, height);
    if (!image.data[3]) continue; // a canvas that is too large for the browser stays transparent
    bitmap.close();
    return image;
  }
  bitmap.close();
  throw new BadInput("This browser cannot hold so large a picture; make it smaller.");
}

/**
 * Return the first pixel and the weights of the pixels that make up each of `target` new ones, along an axis.
 *
 * The new pixels cover `length` old ones from `start`; outside of the `size` pixels of the picture, all is black.
 */
function findWeights(size, start, length, target) {
  const scale = length / target;
  const support = Math.max(scale, 1);
  return range(target).map((index) => {
    const center = (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(length, Math.trunc(center + support + 0.5));
    const shares = range(last - first).map((k) => Math.max(0, 1 - Math.abs((first + k - center + 0.5) / support)));
    const total = sum(shares);
    const weights = shares.map((share) => Math.trunc(0.5 + (share / total) * 2 ** PRECISION));
    const before = Math.max(0, -start - first);
    return { first: start + first + before, weights: weights.slice(before, Math.max(0, size - start - first)) };
  });
}

/**
 * Resize a part of a picture along an axis (0 is across, 1 is down), bilinear and antialiased: to the bit what Pillow's
 * resize returns.
 *
 * The part, `length` pixels from `start`, gets `target` pixels, of which `margin` are cut off on each side.
 */
function resizeAxis({ data, width, height }, axis, start, length, target, margin) {
  const plan = findWeights([width, height][axis], start, length, target).slice(margin, target - margin);
  const [toWidth, toHeight] = [width, height].with(axis, plan.length);
  const step = axis ? 4 * width : 4;
  const result = new Uint8ClampedArray(4 * toWidth * toHeight).fill(255);
  for (let y = 0, to = 0; y < toHeight; y += 1) {
    for (let x = 0; x < toWidth; x += 1, to += 4) {
      const { first, weights } = plan[axis ? y : x];
      let place = axis ? first * step + 4 * x : 4 * y * width + first * step;
      let [red, green, blue] = [HALF, HALF, HALF];
      for (const weight of weights) {
        red += data[place] * weight;
        green += data[place + 1] * weight;
        blue += data[place + 2] * weight;
        place += step;
      }
      result[to] = red >> PRECISION;
      result[to + 1] = green >> PRECISION;
      result[to + 2] = blue >> PRECISION;
    }
  }
  return { data: result, width: toWidth, height: toHeight };
}

/** Return a picture of exactly this size. */
export function resize(image, width, height) {
  const wide = resizeAxis(image, 0, 0, image.width, width, 0);
  return resizeAxis(wide, 1, 0, image.height, height, 0);
}

/** Return the part of a picture that becomes a square, [left, top, width, height]; see find_square in shared/images. */
function findPart({ width, height }, side, framing) {
  if (framing === "squash") return [0, 0, width, height];
  const choose = framing === "crop" ? Math.min : Math.max;
  const edge = Math.trunc(choose(width / side, height / side) * side);
  return [Math.trunc((width - edge) / 2), Math.trunc((height - edge) / 2), edge, edge];
}

/**
 * Return a picture as a square, and its region of the picture; see Picture.make_square in shared/images.
 * @returns {[object, number[]]} the square; and left, top, right and bottom in widths and heights of the picture
 */
export function makeSquare(image, { size, framing = "squash", margin = 0 }) {
  const side = size + 2 * margin;
  const [left, top, wide, high] = findPart(image, side, framing);
  const steps = [
    [0, left, wide, side, margin],
    [1, top, high, side, margin],
  ];
  if (framing === "pad" && image.width <= image.height) steps.reverse(); // first along the long side, as in Python
  const square = steps.reduce((found, step) => resizeAxis(found, ...step), image);
  const [cutX, cutY] = [(wide * margin) / side, (high * margin) / side];
  const edges = [left + cutX, top + cutY, left + wide - cutX, top + high - cutY];
  return [square, edges.map((edge, index) => edge / (index % 2 ? image.height : image.width))];
}

/** Return a picture as the model's input, (1, 3, height, width) float32, normalised. */
export function toTensor({ data, width, height }, { mean, std }) {
  const plane = width * height;
  const values = new Float32Array(3 * plane);
  for (let channel = 0; channel < 3; channel += 1) {
    const levels = Float32Array.from(range(256), (level) => (level / 255 - mean[channel]) / std[channel]);
    for (let place = 0; place < plane; place += 1) {
      values[channel * plane + place] = levels[data[4 * place + channel]];
    }
  }
  return new Tensor(values, [1, 3, height, width]);
}
