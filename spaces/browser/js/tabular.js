// Tabular models with explanations and "what if"; shared/tabular.py is the same in Python.

import { Tensor } from "../vendor/onnxruntime-web/ort.wasm.min.mjs";
import { BadInput } from "./checkpoint.js";
import { argmax, range, softmax, sum, zip } from "./numbers.js";
import { Predictor, checkOutput, makeCells, orError } from "./predictor.js";
import * as tables from "./tables.js";

const EXPLAINED_ROWS = 6000; // evaluated for an explanation, about; see shared/tabular.py
const POINTS = 50; // of a curve

/** Return what an error calls a column; name_field is the same in Python. */
function nameField(column, description = "") {
  const name = description.split(",")[0] || column;
  const [words, text] = [column, name].map((part) => ` ${part.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ")} `);
  return text.includes(words) ? name : `${name} (${column})`;
}

const round = (value) => Number(value.toPrecision(6));

export default class TabularPredictor extends Predictor {
  rowsAtOnce = 512;

  prepare() {
    const { columns, categories, numbers, descriptions } = this.config;
    // Of the model's inputs: an object would have a column called 2018 before all others.
    this.categories = columns.filter((name) => categories[name]);
    this.numbers = columns.filter((name) => numbers[name]);
    this.inputs = [...this.categories, ...this.numbers];
    this.codes = Object.fromEntries(this.categories.map((name) => [name, indexCategories(categories[name])]));
    this.fields = zip(
      this.inputs,
      this.inputs.map((name) => nameField(name, descriptions?.[name])),
    );
  }

  /** The labels; null of a model that predicts a number. */
  get labels() {
    return this.config.task === "tabular-regression" ? null : this.config.labels;
  }

  /** The outputs of the model, with the shape of each for one row. */
  get outputs() {
    const { labels } = this;
    if (!labels) return { value: [], half_width: [] };
    return labels.length === 2 ? { logit: [] } : { logits: [labels.length] };
  }

  /** Return the prediction for a row as in Python's as_dict. */
  async predict(row) {
    return this.answer((await this.read(row)).outputs);
  }

  /** Return the prediction, or {error}, for each [row]. */
  async predictEach(inputs) {
    const encoded = await Promise.all(inputs.map(([row]) => orError(() => this.encode(row))));
    const good = encoded.filter(Array.isArray);
    const outputs = good.length ? (await this.evaluate(good)).values() : null;
    return encoded.map((cells) => (cells.error ? cells : this.answer(outputs.next().value)));
  }

  async readRows([file]) {
    const rows = tables.readCsv(await tables.readText(file), this.config.columns);
    return rows.map((one) => ({ ...one, input: [one.row] }));
  }

  /** Return the cells of a prediction in a CSV. */
  asCells({ label, probabilities, value, low, high }) {
    const { labels } = this;
    if (!labels) return { prediction: round(value), low: round(low), high: round(high) };
    const shown = labels.length === 2 ? [labels[1]] : labels;
    return { prediction: label, ...makeCells("probability", shown, probabilities) };
  }

  answer(outputs) {
    const { labels } = this;
    if (!labels) return zip(["value", "low", "high"], outputs);
    const best = labels.length === 2 ? Number(outputs[1] >= 0.5) : argmax(outputs);
    return { label: labels[best], probabilities: zip(labels, outputs) };
  }

  /** Return an encoded row, its outputs, and which is explained: the value, the second of two labels, or the best. */
  async read(row) {
    const { labels } = this;
    const cells = this.encode(row);
    const [outputs] = await this.evaluate([cells]);
    const which = !labels ? 0 : labels.length === 2 ? 1 : argmax(outputs);
    return { cells, outputs, which, label: labels?.[which] };
  }

  /** Return Shapley values of the explained output, `total`, against the rows of background.csv, and its label; null if a newer call began. */
  async explain(row) {
    const isOld = this.begin();
    if (await isOld()) return null;
    const { groups } = this.config;
    const { cells, outputs, which, label } = await this.read(row);
    const players = groups.length;
    const most = Math.max(1, Math.floor(EXPLAINED_ROWS / (2 * players + 2)));
    const background = this.readTable("background.csv")
      .slice(0, most)
      .map((other) => this.encodeBackground(other));
    const owner = this.inputs.map((name) => groups.findIndex((group) => group.includes(name)));
    // Two orders for each row of the background: in both, one player after the other is switched to the given row.
    const orders = background.flatMap((_, index) => {
      const order = shuffle(players, index);
      return [order, order.toReversed()];
    });
    const rows = orders.flatMap((order, index) =>
      range(players + 1).map((count) => {
        const present = new Set(order.slice(0, count));
        return background[index >> 1].map((other, place) => (present.has(owner[place]) ? cells[place] : other));
      }),
    );
    const found = (await this.evaluate(rows)).map((one) => one[which]);
    const contributions = range(players).map((player) => {
      const steps = orders.map((order, index) => index * (players + 1) + order.indexOf(player));
      return sum(steps.map((step) => found[step + 1] - found[step])) / orders.length;
    });
    const total = outputs[which];
    const base = total - sum(contributions);
    return {
      total,
      base,
      contributions: zip(
        groups.map(([name]) => name),
        contributions,
      ),
      label,
    };
  }

  /** Return the explained output as one number varies: {values, lines}; of a number, also both ends of its interval. */
  async whatIf(row, column) {
    const { numbers, amounts } = this.config;
    const { minimum, median, maximum } = numbers[column];
    const isWhole = [minimum, 2 * median, maximum].every(Number.isInteger);
    const steps = range(POINTS).map((index) => minimum + ((maximum - minimum) * index) / (POINTS - 1));
    const chosen = [...(isWhole ? steps.map(Math.round) : steps), ...(amounts?.[column] ?? [])];
    const values = [...new Set(chosen)].sort((a, b) => a - b);
    const { cells, which, label } = await this.read(row);
    const place = this.inputs.indexOf(column);
    const outputs = await this.evaluate(values.map((value) => cells.with(place, value)));
    const lines = (this.labels ? [which] : [0, 1, 2]).map((index) => outputs.map((one) => one[index]));
    return { values, lines, label };
  }

  /** Encode a row as the model's inputs: indices of categories, 0 for a missing one, and then numbers. */
  encode(row) {
    const { columns, categories, numbers, ignored, open_categories: open = [] } = this.config;
    const absent = columns.filter((name) => !Object.hasOwn(row, name));
    if (absent.length)
      throw new BadInput(`The value of ${absent.join(", ")} is not given; write ? where it is unknown.`);
    const readEach = (names, read) =>
      names.map((column) => {
        try {
          return read(column, this.fields[column], row[column]);
        } catch (error) {
          throw Object.assign(error, { column }); // for the page, which marks its field
        }
      });
    return [
      ...readEach(this.categories, (column, name, value) =>
        readCategory(name, value, categories[column], this.codes[column], open.includes(column)),
      ),
      ...readEach(this.numbers, (column, name, value) =>
        readNumber(name, value, numbers[column], ignored.includes(column)),
      ),
    ];
  }

  /** Encode a row of background.csv, whose dates are numbers of days. */
  encodeBackground(row) {
    const numbers = this.numbers.map((name) => [name, tables.parseNumber(row[name])]);
    return this.encode({ ...row, ...Object.fromEntries(numbers) });
  }

  /** Return the outputs for encoded rows: the calibrated probabilities, or [value, low, high]. */
  async evaluate(rows) {
    const { inputNames } = this.session;
    const split = this.categories.length;
    const codes = BigInt64Array.from(
      rows.flatMap((row) => row.slice(0, split)),
      BigInt,
    );
    const numbers = Float32Array.from(rows.flatMap((row) => row.slice(split)));
    const inputs = {
      categories: new Tensor(codes, [rows.length, split]),
      numbers: new Tensor(numbers, [rows.length, rows[0].length - split]),
    };
    // The exported graph lacks an input if the table has no categories or no numbers.
    const found = await this.session.run(Object.fromEntries(inputNames.map((name) => [name, inputs[name]])));
    for (const [name, shape] of Object.entries(this.outputs)) checkOutput(found[name], [rows.length, ...shape]);
    return rows.map((_, index) => this.calibrate(found, index));
  }

  calibrate({ logit, logits, value, half_width: half }, row) {
    const { temperature = 1, bias = 0 } = this.config;
    if (value) return [0, -1, 1].map((sign) => value.data[row] + sign * half.data[row]);
    if (logits) {
      const count = this.labels.length;
      const own = logits.data.subarray(row * count, (row + 1) * count);
      return softmax(own.map((one) => one / temperature));
    }
    const second = 1 / (1 + Math.exp(-(logit.data[row] / temperature + bias)));
    return [1 - second, second];
  }
}

const loosen = (name) => tables.normaliseName(name).replace(/[-_ ]+/g, "-");

/** Return the index of each category, by its name and by its normalised name if that is unambiguous. */
function indexCategories(values) {
  const codes = new Map(values.map((value, code) => [value, code]));
  const loose = new Map();
  values.map(loosen).forEach((form, code) => loose.set(form, loose.has(form) ? null : code));
  for (const [form, code] of loose) if (code !== null && !codes.has(form)) codes.set(form, code);
  return codes;
}

/** Return the index of a value among the categories of a column, by those of indexCategories; 0 for a missing one. */
function readCategory(name, value, values, codes, isOpen) {
  const text = String(value ?? "").trim();
  const code = codes.get(text) ?? codes.get(loosen(text)) ?? codes.get(tables.dropZeros(text));
  if (code !== undefined) return code;
  if (isOpen || tables.isMissing(value)) return 0;
  const known = values.slice(1).join(", ");
  throw new BadInput(`${name} must be one of ${known}, or ? where it is unknown; not ${tables.quote(value)}.`);
}

/** Return the number in a numeric column; the median for a missing one. A date counts as the nearest in the range. */
function readNumber(name, value, { minimum, maximum, median, decimal, date_format: format }, isAnyRange) {
  if (tables.isMissing(value)) return median;
  if (format) {
    const days = tables.readDate(value, format);
    if (!Number.isNaN(days)) return Math.min(Math.max(days, minimum), maximum);
    throw new BadInput(`${name} must be a date such as ${tables.formatDate(median)}, not ${tables.quote(value)}.`);
  }
  const number = tables.parseNumber(value, decimal);
  if ((number >= minimum && number <= maximum) || (isAnyRange && Number.isFinite(number))) return number;
  const [low, high] = [minimum, maximum].map((end) => tables.formatDigits(end));
  const accepted = `a number from ${low} to ${high}, the range of the training data`;
  const hint = Number.isNaN(number) ? tables.suggestNumber(value) : "";
  throw new BadInput(`${name} must be ${accepted}, not ${tables.quote(value)}.${hint}`);
}

/** Return the players in an order that looks random; shared/shapley.py makes the same. */
function shuffle(players, seed) {
  const keys = range(players).map((player) => {
    let mixed = Math.imul(seed * players + player + 1, 0x9e3779b9);
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return (mixed ^ (mixed >>> 16)) >>> 0;
  });
  return range(players).sort((a, b) => keys[a] - keys[b]);
}
