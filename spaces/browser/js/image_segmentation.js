// Image segmentation; shared/image_segmenter.py is the same in Python.

import { range, sum, zip } from "./numbers.js";
import { loadImage, resize, toTensor } from "./pixels.js";
import { Predictor, checkOutput, makeCells } from "./predictor.js";

const MAX_MASK_PIXELS = 2_000_000; // Python answers for every pixel of a larger picture

export default class ImageSegmenter extends Predictor {
  /**
   * Segment a picture.
   * @param {Blob} blob
   * @returns the prediction as in Python's as_dict; `mask`, the class of each pixel; and `confidence`, its probability
   */
  async predict(blob) {
    const { config, session } = this;
    const image = await loadImage(blob);
    const input = toTensor(resize(image, ...findWorkingSize(image, config)), config);
    const { logits } = await session.run({ [session.inputNames[0]]: input });
    checkOutput(logits, [1, config.labels.length, ...logits.dims.slice(2)]);
    const most = Math.min(1, Math.sqrt(MAX_MASK_PIXELS / (image.width * image.height)));
    const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.trunc(side * most)));
    const { mask, confidence } = chooseClasses(logits, width, height);
    const counts = config.labels.map(() => 0);
    for (const label of mask) counts[label] += 1;
    const shares = counts.map((count) => count / mask.length);
    return {
      shares: zip(config.labels, shares),
      width,
      height,
      scale: Math.max(width, height) / Math.max(image.width, image.height),
      mean_confidence: sum(confidence) / mask.length,
      mask,
      confidence,
    };
  }

  /** Return the cells of a prediction in a CSV. */
  asCells({ shares }) {
    return makeCells("share", this.config.labels, shares);
  }
}

/** Round halves to even numbers, as Python does. */
const round = (value) => (value % 1 === 0.5 ? 2 * Math.round(value / 2) : Math.round(value));

/** Return the [width, height] to which a picture is resized for the model; see find_working_size. */
function findWorkingSize({ width, height }, { area, multiple }) {
  const aspect = Math.max(width, height) / Math.min(width, height);
  const long = Math.max(2, round(Math.sqrt(area * aspect) / multiple)) * multiple;
  const short = Math.max(2, round(long / aspect / multiple)) * multiple;
  return width >= height ? [long, short] : [short, long];
}

/** Return the values before and after each of `pixels` on a line of `values`, and the weight of the second. */
function findNeighbours(values, pixels) {
  return range(pixels).map((pixel) => {
    const place = Math.min(Math.max((pixel + 0.5) * (values / pixels) - 0.5, 0), values - 1);
    const before = Math.trunc(place);
    return [before, Math.min(before + 1, values - 1), place - before];
  });
}

/** Choose a class for each pixel from coarse logits, which are interpolated bilinearly first; see choose_classes. */
function chooseClasses({ data, dims: [, classes, rows, columns] }, width, height) {
  const mask = new Uint8Array(width * height);
  const confidence = new Float32Array(width * height);
  const across = findNeighbours(columns, width);
  const line = new Float32Array(columns * classes); // logits between two rows, one column after the other
  const values = new Float32Array(classes);
  findNeighbours(rows, height).forEach(([above, below, down], y) => {
    for (let place = 0; place < line.length; place += 1) {
      const [column, label] = [Math.trunc(place / classes), place % classes];
      const upper = data[(label * rows + above) * columns + column];
      line[place] = upper + (data[(label * rows + below) * columns + column] - upper) * down;
    }
    for (let x = 0; x < width; x += 1) {
      const [left, right, share] = across[x];
      let best = 0;
      for (let label = 0; label < classes; label += 1) {
        const value = line[left * classes + label];
        values[label] = value + (line[right * classes + label] - value) * share;
        if (values[label] > values[best]) best = label;
      }
      let total = 0;
      for (let label = 0; label < classes; label += 1) total += Math.exp(values[label] - values[best]);
      mask[y * width + x] = best;
      confidence[y * width + x] = 1 / total;
    }
  });
  return { mask, confidence };
}
