// What the predictors of all tasks have in common.

import { BadInput } from "./checkpoint.js";
import { readCsv } from "./tables.js";

export class Predictor {
  constructor(config, session, files) {
    Object.assign(this, { config, session, files });
  }

  /** Return the rows of a CSV in the checkpoint folder; none if it has no such file. */
  readTable(name) {
    return this.files[name] ? readCsv(new TextDecoder().decode(this.files[name])).map(({ row }) => row) : [];
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
}

/** Return the result of a function, or {error} if the input was bad. */
export async function orError(task) {
  try {
    return await task();
  } catch (error) {
    if (error instanceof BadInput) return { error: error.message };
    throw error;
  }
}
