// Image classification with out-of-distribution detection; shared/image_classifier.py is the same in Python.

import { argmax, range, softmax, sum, zip } from "./numbers.js";
import { loadImage, makeSquare, toTensor } from "./pixels.js";
import { Predictor, checkOutput, makeCells } from "./predictor.js";

const MOST_SQUARES = 1000; // on a side of a map

export default class ImageClassifier extends Predictor {
  /**
   * Classify a picture.
   * @param {Blob} blob
   * @returns the prediction as in Python's as_dict; `likeliest`; `evidence` for that label, a map of
   *     `width` × `height`; and `region`, what the map covers (left, top, right, bottom, as shares of the picture)
   */
  async predict(blob) {
    const { config, session } = this;
    const [square, region] = makeSquare(await loadImage(blob), config);
    const found = await session.run({ [session.inputNames[0]]: toTensor(square, config) });
    const [logits, scores, maps] = session.outputNames.map((name) => found[name]);
    const count = config.labels.length;
    checkOutput(logits, [1, count]);
    checkOutput(scores, [1]);
    if (maps) checkOutput(maps, [1, count, ...maps.dims.slice(2).map((side) => Math.min(side, MOST_SQUARES))]);
    const probabilities = softmax(logits.data);
    const best = argmax(probabilities);
    const inDistribution = scores.data[0] >= config.in_distribution_threshold;
    return {
      label: inDistribution ? config.labels[best] : null,
      probabilities: zip(config.labels, probabilities),
      in_distribution: inDistribution,
      in_distribution_score: scores.data[0],
      likeliest: config.labels[best],
      region,
      ...(maps && findEvidence(maps, best)),
    };
  }

  /** Return the cells of a prediction in a CSV; a rejected picture has no probabilities in it. */
  asCells({ label, probabilities }) {
    const cells = makeCells("probability", this.config.labels, probabilities);
    if (label === null) for (const name of Object.keys(cells)) cells[name] = "";
    return { prediction: label ?? "neither", ...cells };
  }
}

/** Return the class activation map of a label minus the mean map of the others. */
function findEvidence({ data, dims: [, labels, height, width] }, best) {
  const evidence = range(width * height).map((place) => {
    const values = range(labels).map((label) => data[label * width * height + place]);
    return values[best] - (sum(values) - values[best]) / (labels - 1);
  });
  return { evidence, width, height };
}
