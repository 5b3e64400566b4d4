// Small numerical functions.

/** Return [0, 1, ..., count - 1]. */
export const range = (count) => [...Array(count).keys()];

export const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Return the probabilities of logits. */
export function softmax(logits) {
  const largest = Math.max(...logits);
  const odds = Array.from(logits, (logit) => Math.exp(logit - largest));
  const total = sum(odds);
  return odds.map((value) => value / total);
}

/** Return the index of the largest value; the first of equals. */
export const argmax = (values) => values.indexOf(Math.max(...values));

/** Return {key: value} of two lists of the same length. */
export const zip = (keys, values) => Object.fromEntries(keys.map((key, index) => [key, values[index]]));
