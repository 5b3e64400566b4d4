// Small numerical functions.

/** Return the probabilities of logits. */
export function softmax(logits) {
  const largest = Math.max(...logits);
  const odds = Array.from(logits, (logit) => Math.exp(logit - largest));
  const total = odds.reduce((sum, value) => sum + value, 0);
  return odds.map((value) => value / total);
}

/** Return the index of the largest value; the first of equals. */
export const argmax = (values) => values.reduce((best, value, index) => (value > values[best] ? index : best), 0);

/** Return {key: value} of two lists of the same length. */
export const zip = (keys, values) => Object.fromEntries(keys.map((key, index) => [key, values[index]]));

/**
 * Solve a system of linear equations by Gaussian elimination with pivoting.
 * @param {number[][]} matrix - n rows of n
 * @param {number[][]} right - n rows of any number of right-hand sides
 * @returns {number[][]} the solutions, n rows
 */
export function solve(matrix, right) {
  const size = matrix.length;
  const rows = matrix.map((row, index) => [...row, ...right[index]]);
  for (let column = 0; column < size; column += 1) {
    let pivot = column;
    for (let row = column + 1; row < size; row += 1) {
      if (Math.abs(rows[row][column]) > Math.abs(rows[pivot][column])) pivot = row;
    }
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let row = 0; row < size; row += 1) {
      if (row === column) continue;
      const factor = rows[row][column] / rows[column][column];
      for (let k = column; factor && k < rows[row].length; k += 1) rows[row][k] -= factor * rows[column][k];
    }
  }
  return rows.map((row, index) => row.slice(size).map((value) => value / row[index]));
}
