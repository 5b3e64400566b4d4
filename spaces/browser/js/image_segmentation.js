// Image segmentation; shared/image_segmenter.py is the same in Python.

import { zip } from "./numbers.js";
import { loadImage, resize, toTensor } from "./pixels.js";

const MAX_MASK_PIXELS = 2_000_000; // Python answers for every pixel of a larger picture
const SURE = 0.5;

export class Predictor {
  constructor(config, session) {
    this.config = config;
    this.session = session;
  }

  /**
   * Segment a picture.
   * @param {Blob} blob
   * @returns the prediction as in Python's as_dict; `mask`, the class of each pixel; `confidence`, its probability in
   *     256 steps; `unsure`, the share of pixels below 50 %; and the mean confidence by class
   */
  async predict(blob) {
    const { area, multiple, mean, std, labels } = this.config;
    const image = await loadImage(blob);
    const working = resize(image, ...findWorkingSize(image, area, multiple));
    const { logits } = await this.session.run({ [this.session.inputs[0]]: toTensor(working, mean, std) });
    const scale = Math.min(1, Math.sqrt(MAX_MASK_PIXELS / (image.width * image.height)));
    const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.trunc(side * scale)));
    const { mask, confidence, counts, sums, unsure } = chooseClasses(logits, width, height);
    const pixels = width * height;
    const present = labels.map((label, index) => [label, index]).filter(([, index]) => counts[index]);
    return {
      shares: zip(labels, Array.from(counts, (count) => count / pixels)),
      width, height, scale: Math.max(width, height) / Math.max(image.width, image.height),
      mean_confidence: sums.reduce((sum, value) => sum + value, 0) / pixels,
      unsure: unsure / pixels,
      confidence_by_class: Object.fromEntries(present.map(([label, index]) => [label, sums[index] / counts[index]])),
      mask, confidence,
    }; // prettier-ignore
  }
}

/** Round halves to even numbers, as Python does. */
function round(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

/** Return the [width, height] to which a picture is resized for the model; see find_working_size. */
function findWorkingSize({ width, height }, area, multiple) {
  const aspect = Math.max(width, height) / Math.min(width, height);
  const long = Math.max(2, round(Math.sqrt(area * aspect) / multiple)) * multiple;
  const short = Math.max(2, round(long / aspect / multiple)) * multiple;
  return width >= height ? [long, short] : [short, long];
}

/** Return the values before and after each of `pixels` on a line of `values`, and the weight of the second. */
function findNeighbours(values, pixels) {
  return Array.from({ length: pixels }, (_, pixel) => {
    const place = Math.min(Math.max((pixel + 0.5) * (values / pixels) - 0.5, 0), values - 1);
    const before = Math.trunc(place);
    return [before, Math.min(before + 1, values - 1), place - before];
  });
}

/** Choose a class for each pixel from coarse logits, which are interpolated bilinearly first; see choose_classes. */
function chooseClasses({ data, dims: [, classes, rows, columns] }, width, height) {
  const mask = new Uint8Array(width * height);
  const confidence = new Uint8ClampedArray(width * height);
  const counts = new Float64Array(classes);
  const sums = new Float64Array(classes);
  const across = findNeighbours(columns, width);
  let unsure = 0;
  const line = new Float32Array(classes * columns);
  const values = new Float32Array(classes);
  findNeighbours(rows, height).forEach(([above, below, down], y) => {
    for (let index = 0; index < classes; index += 1) {
      const [first, second] = [(index * rows + above) * columns, (index * rows + below) * columns];
      for (let x = 0; x < columns; x += 1) {
        line[index * columns + x] = data[first + x] + (data[second + x] - data[first + x]) * down;
      }
    }
    for (let x = 0; x < width; x += 1) {
      const [left, right, share] = across[x];
      let best = 0;
      for (let index = 0; index < classes; index += 1) {
        const value = line[index * columns + left];
        values[index] = value + (line[index * columns + right] - value) * share;
        if (values[index] > values[best]) best = index;
      }
      let total = 0;
      for (let index = 0; index < classes; index += 1) total += Math.exp(values[index] - values[best]);
      const place = y * width + x;
      mask[place] = best;
      confidence[place] = 255 / total;
      counts[best] += 1;
      sums[best] += 1 / total;
      if (1 / total < SURE) unsure += 1;
    }
  });
  return { mask, confidence, counts, sums, unsure };
}
