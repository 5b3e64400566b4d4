// What the predictors of all tasks have in common.

import { BadInput } from "./checkpoint.js";
import { readCsv, writeCsv } from "./tables.js";

const SHOWN_ROWS = 50; // of a table of answers

export class Predictor {
  rowsAtOnce = 1; // of a table, that are answered together

  constructor(config, session, files) {
    Object.assign(this, { config, session, files });
  }

  /** Return the rows of a CSV in the checkpoint folder, which has commas; none if it has no such file. */
  readTable(name) {
    if (!this.files[name]) return [];
    const text = `sep=,\n${new TextDecoder().decode(this.files[name])}`;
    return readCsv(text, [], Infinity).map(({ row }) => row);
  }

  /** Begin an explanation; return a function that lets the worker take newer calls, and says if one begins another. */
  begin() {
    const ticket = (this.latest = (this.latest ?? 0) + 1);
    return () => new Promise((resolve) => setTimeout(() => resolve(ticket !== this.latest)));
  }

  /** Stop the explanation that is being computed. */
  cancel() {
    this.begin();
  }

  /** Return the answer for each list of arguments of `predict`, or {error}. */
  async predictEach(inputs) {
    const answers = [];
    for (const input of inputs) answers.push(await orError(() => this.predict(...input)));
    return answers;
  }

  /** Return a row for each file, or of a table; see readCsv. Its `input` is the arguments of `predict`. */
  async readRows(files) {
    return files.map((file) => ({ names: ["file"], values: [file.name], input: [file] }));
  }

  /**
   * Answer many pictures, or the rows of a table.
   * @param {File[]} files
   * @param {(share: number) => void} report - called with the share that is done
   * @returns {Promise<{count: number, wrong: number, lines: any[][], csv: Blob}>} the number of rows and of those with
   *     an error; the header and first rows with their answers; and all, as a CSV
   */
  async answerFiles(files, report) {
    const rows = await this.readRows(files);
    if (!rows.length) throw new BadInput("The file has no rows; write one for each prediction.");
    for (let done = 0; done < rows.length; done += this.rowsAtOnce) {
      const good = rows.slice(done, done + this.rowsAtOnce).filter(({ error }) => !error);
      const answers = await this.predictEach(good.map(({ input }) => input));
      answers.forEach((one, index) => Object.assign(good[index], one.error ? one : { cells: this.asCells(one) }));
      report((done + good.length) / rows.length);
      await new Promise((resolve) => setTimeout(resolve)); // the worker takes other calls in between
    }
    const [{ names, delimiter }] = rows;
    const added = [...Object.keys(rows.find(({ cells }) => cells)?.cells ?? {}), "error"];
    const lines = rows.map(({ values, cells, error }) => {
      const found = { ...cells, error: error || "" };
      return [...names.map((_, index) => values[index] ?? ""), ...added.map((name) => found[name] ?? "")];
    });
    const [taken, ours] = [new Set(names), new Set(added)];
    const renamed = names.map((name) => {
      let free = name;
      while (ours.has(free) || (free !== name && taken.has(free))) free += " (yours)";
      taken.add(free);
      return free;
    });
    lines.unshift([...renamed, ...added]);
    const csv = new Blob(["\ufeff", writeCsv(lines, delimiter)], { type: "text/csv" });
    const wrong = rows.filter(({ error }) => error).length;
    return { count: rows.length, wrong, added: added.length, lines: lines.slice(0, 1 + SHOWN_ROWS), csv };
  }
}

/**
 * Check that an output of the model has this shape, and that its values are numbers.
 * @param {{dims: number[], data: ArrayLike<number>}} output
 * @param {number[]} shape
 */
export function checkOutput(output, shape) {
  const isAsExpected =
    output && output.dims.length === shape.length && shape.every((side, axis) => side === output.dims[axis]);
  if (!isAsExpected || !output.data.every(Number.isFinite)) {
    throw new BadInput("The model's answer does not fit its gallery.json; export the model again.");
  }
}

/** Return shares as cells of a table, in columns such as "probability cat". */
export const makeCells = (what, labels, shares) =>
  Object.fromEntries(labels.map((label) => [`${what} ${label}`, shares[label].toFixed(4)]));

/** Return the result of a function, or {error} if the input was bad. */
export async function orError(task) {
  try {
    return await task();
  } catch (error) {
    if (error instanceof BadInput) return { error: error.message };
    throw error;
  }
}
