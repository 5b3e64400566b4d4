// Image classification with out-of-distribution detection; shared/image_classifier.py is the same in Python.

import { argmax, softmax, zip } from "./numbers.js";
import { findSquare, loadImage, makeSquare, toTensor } from "./pixels.js";

export class Predictor {
  constructor(config, session) {
    this.config = config;
    this.session = session;
  }

  /**
   * Classify a picture.
   * @param {Blob} blob
   * @returns the prediction as in Python's as_dict; `likeliest`; and `map`: the evidence for that label, rows of numbers
   *     over `region` (left, top, right, bottom, in widths and heights of the picture)
   */
  async predict(blob) {
    const { size, framing = "squash", margin = 0, mean, std, labels, in_distribution_threshold: least } = this.config;
    const image = await loadImage(blob);
    const [input] = this.session.inputs;
    const found = await this.session.run({ [input]: toTensor(makeSquare(image, size, framing, margin), mean, std) });
    const [logits, scores, maps] = this.session.outputs.map((name) => found[name]);
    const probabilities = softmax(logits.data);
    const best = argmax(probabilities);
    const inDistribution = scores.data[0] >= least;
    return {
      label: inDistribution ? labels[best] : null,
      probabilities: zip(labels, probabilities),
      in_distribution: inDistribution,
      in_distribution_score: scores.data[0],
      likeliest: labels[best],
      map: maps ? subtractOthers(maps, best) : null,
      region: findRegion(image, size, framing, margin),
    };
  }
}

/** Return the class activation map of a label minus the mean map of the others, as rows of numbers. */
function subtractOthers({ data, dims: [, labels, rows, columns] }, best) {
  const plane = rows * columns;
  const value = (place) => {
    let others = 0;
    for (let label = 0; label < labels; label += 1) if (label !== best) others += data[label * plane + place];
    return data[best * plane + place] - others / (labels - 1);
  };
  return Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (__, at) => value(row * columns + at)));
}

/** Return the part of a picture that the model sees, in its widths and heights. */
function findRegion({ width, height }, size, framing, margin) {
  if (framing === "squash" && !margin) return [0, 0, 1, 1];
  const side = size + 2 * margin;
  const [left, top, edge] = framing === "squash" ? [0, 0, null] : findSquare(width, height, side, framing);
  const [wide, high] = edge === null ? [width, height] : [edge, edge];
  const [cutX, cutY] = [(wide * margin) / side, (high * margin) / side];
  return [(left + cutX) / width, (top + cutY) / height, (left + wide - cutX) / width, (top + high - cutY) / height];
}
