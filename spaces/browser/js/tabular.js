// Tabular models with explanations and "what if"; shared/tabular.py is the same in Python.

import { BadInput } from "./checkpoint.js";
import { argmax, softmax, zip } from "./numbers.js";
import { formatDate, isMissing, normaliseName, parseDate, parseNumber, readCsv } from "./tables.js";

const BATCH = 1024; // rows
const EXPLAINED_ROWS = 6000; // evaluated for an explanation, about; see shared/tabular.py

const loosen = (name) => normaliseName(name).replace(/[-_ ]+/g, "-");

export class Predictor {
  constructor(config, session, files) {
    this.config = config;
    this.session = session;
    this.isNumber = config.task === "tabular-regression";
    this.background = readCsv(new TextDecoder().decode(files["background.csv"]), config.columns);
    this.categories = Object.entries(config.categories);
    this.numbers = Object.entries(config.numbers);
  }

  /** Return the prediction for a row as in Python's as_dict. */
  async predict(row) {
    const [outputs] = await this.evaluate([this.encode(row)]);
    return this.answer(outputs);
  }

  answer(outputs) {
    if (this.isNumber) return zip(["value", "low", "high"], outputs);
    const { labels } = this.config;
    const best = labels.length === 2 ? Number(outputs[1] >= 0.5) : argmax(outputs);
    return { label: labels[best], probabilities: zip(labels, outputs) };
  }

  /** Return the index of the output that is explained: the value, the second of two labels, or the predicted label. */
  chooseOutput(outputs) {
    return this.isNumber ? 0 : this.config.labels.length === 2 ? 1 : argmax(outputs);
  }

  /** Return the prediction, or {error}, for each row of a table. */
  async predictEach(rows, report) {
    const encoded = rows.map((row) => {
      try {
        return this.encode(row);
      } catch (error) {
        if (error instanceof BadInput) return { error: error.message };
        throw error;
      }
    });
    const good = encoded.filter((row) => !row.error);
    const found = (await this.evaluate(good, report)).values();
    return encoded.map((row) => (row.error ? row : this.answer(found.next().value)));
  }

  /** Return Shapley values of the explained output, `total`, against the rows of background.csv, and its label. */
  async explain(row) {
    const { groups } = this.config;
    const encoded = this.encode(row);
    const [all] = await this.evaluate([encoded]);
    const which = this.chooseOutput(all);
    const most = Math.max(1, Math.floor(EXPLAINED_ROWS / (2 * groups.length + 2)));
    const background = this.background.slice(0, most).map((other) => this.encode(other));
    const owner = new Map(groups.flatMap((group, player) => group.map((column) => [column, player])));
    const take = (names, kind) => (other, present) =>
      names.map(([name], index) => (present.has(owner.get(name)) ? encoded[kind][index] : other[kind][index]));
    const categories = take(this.categories, "categories");
    const numbers = take(this.numbers, "numbers");
    const random = makeRandom(1);
    const rows = [];
    const steps = [];
    for (const other of background) {
      const order = shuffle(groups.length, random);
      for (const players of [order, [...order].reverse()]) {
        const present = new Set();
        rows.push({ categories: categories(other, present), numbers: numbers(other, present) });
        for (const player of players) {
          present.add(player);
          rows.push({ categories: categories(other, present), numbers: numbers(other, present) });
          steps.push([player, rows.length - 1]);
        }
      }
    }
    const outputs = await this.evaluate(rows);
    const changes = new Float64Array(groups.length);
    for (const [player, at] of steps) changes[player] += (outputs[at][which] - outputs[at - 1][which]) / (2 * background.length);
    const total = all[which];
    const base = total - changes.reduce((sum, value) => sum + value, 0);
    return { total, base, contributions: zip(groups.map(([name]) => name), Array.from(changes)), label: this.config.labels?.[which] };
  }

  /** Return the explained output as one number varies: {values, lines}; of a number, also both ends of its interval. */
  async whatIf(row, column) {
    const span = this.config.numbers[column];
    const isWhole = [span.minimum, span.median, span.maximum].every(Number.isInteger);
    const steps = Array.from({ length: 50 }, (_, index) => span.minimum + ((span.maximum - span.minimum) * index) / 49);
    const chosen = [...steps.map((value) => (isWhole ? Math.round(value) : value)), ...(this.config.amounts?.[column] ?? [])];
    const values = [...new Set(chosen)].sort((a, b) => a - b);
    const encoded = this.encode(row);
    const [all] = await this.evaluate([encoded]);
    const which = this.isNumber ? [0, 1, 2] : [this.chooseOutput(all)];
    const place = this.numbers.findIndex(([name]) => name === column);
    const rows = values.map((value) => ({ ...encoded, numbers: encoded.numbers.with(place, value) }));
    const outputs = await this.evaluate(rows);
    return { values, lines: which.map((index) => outputs.map((one) => one[index])), label: this.config.labels?.[which[0]] };
  }

  /** Encode a row as the model's inputs: indices of categories, 0 for a missing one, and numbers. */
  encode(row) {
    const absent = this.config.columns.filter((name) => !(name in row));
    if (absent.length) throw new BadInput(`The value of ${absent.join(", ")} is not given; write ? where it is unknown.`);
    const open = this.config.open_categories ?? [];
    const categories = this.categories.map(([name, values]) => readCategory(name, row[name], values, open.includes(name)));
    const numbers = this.numbers.map(([name, span]) => {
      if (isMissing(row[name])) return span.median;
      if (span.date_format) {
        const days = parseDate(row[name], span.date_format);
        if (Number.isNaN(days)) throw new BadInput(`${name} must be a date such as ${formatDate(span.median)}, not ${row[name]}.`);
        return Math.min(Math.max(days, span.minimum), span.maximum);
      }
      const number = parseNumber(row[name]);
      const anyRange = this.config.ignored.includes(name);
      if ((number >= span.minimum && number <= span.maximum) || (anyRange && Number.isFinite(number))) return number;
      throw new BadInput(
        `${name} must be a number from ${span.minimum} to ${span.maximum}, the range of the training data, not ${row[name]}.`,
      );
    });
    return { categories, numbers };
  }

  /** Return the outputs for encoded rows: the calibrated probabilities, or [value, low, high]. */
  async evaluate(rows, report = () => {}) {
    const outputs = [];
    for (let start = 0; start < rows.length; start += BATCH) {
      const part = rows.slice(start, start + BATCH);
      const categories = BigInt64Array.from(part.flatMap((row) => row.categories), BigInt);
      const numbers = Float32Array.from(part.flatMap((row) => row.numbers));
      const inputs = {
        categories: { data: categories, dims: [part.length, this.categories.length] },
        numbers: { data: numbers, dims: [part.length, this.numbers.length] },
      };
      // The exported graph lacks an input if the table has no categories or no numbers.
      const found = await this.session.run(Object.fromEntries(this.session.inputs.map((name) => [name, inputs[name]])));
      for (let row = 0; row < part.length; row += 1) outputs.push(this.calibrate(found, row));
      report(outputs.length / rows.length);
    }
    return outputs;
  }

  calibrate({ logit, logits, value, half_width: half }, row) {
    const { temperature = 1, bias = 0, labels } = this.config;
    if (this.isNumber) return [value.data[row], value.data[row] - half.data[row], value.data[row] + half.data[row]];
    if (logits) return softmax(logits.data.subarray(row * labels.length, (row + 1) * labels.length).map((one) => one / temperature));
    const second = 1 / (1 + Math.exp(-(logit.data[row] / temperature + bias)));
    return [1 - second, second];
  }
}

/** Return the index of a value among the categories of a column; 0 for a missing one. */
function readCategory(name, value, values, isOpen) {
  const text = String(value ?? "").trim();
  const exact = values.indexOf(text);
  if (exact >= 0) return exact;
  const loose = values.flatMap((one, index) => (loosen(one) === loosen(text) ? [index] : []));
  if (loose.length === 1) return loose[0];
  if (isOpen || isMissing(value)) return 0;
  throw new BadInput(`${name} must be one of ${values.slice(1).join(", ")}, or ? where it is unknown; not ${text}.`);
}

/** Return a function that returns the same random numbers from 0 to 1 each time (mulberry32). */
function makeRandom(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffle(count, random) {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}
