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

/** Solve a system of linear equations whose matrix is positive definite, so that it needs no pivoting. */
export function solve(matrix, right) {
  const rows = matrix.map((row, index) => [...row, right[index]]);
  rows.forEach((pivot, column) => {
    for (const row of rows) {
      const factor = row === pivot ? 0 : row[column] / pivot[column];
      if (factor) row.forEach((_, place) => (row[place] -= factor * pivot[place]));
    }
  });
  return rows.map((row, index) => row.at(-1) / row[index]);
}
