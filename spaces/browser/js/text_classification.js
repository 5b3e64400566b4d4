// Text classification with Shapley values of the parts of a text; shared/text_classifier.py is the same in Python.

import { Tokenizer } from "../vendor/tokenizers.min.mjs";
import { BadInput } from "./checkpoint.js";
import { argmax, softmax, solve, zip } from "./numbers.js";

const MAX_CHARACTERS = 100_000;
const MAX_PARTS = 16;
const EXACT_PARTS = 5;
const LEAST = 1e-9;
const INVISIBLE =
  /[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}]/gu;
const JOINERS =
  /(?<![\u0590-\u1dff\u2190-\u{10ffff}])[\u200c\u200d\ufe00-\ufe0f\u{e0001}\u{e0020}-\u{e007f}\u{e0100}-\u{e01ef}]+/gu;
const CONTROLS = /[\x00-\x08\x0e-\x1b\x7f]/g;
const BLANKS = /[\x0b\x0c\x1c-\x1f\x80-\x9f\u2028\u2029\u202f\u2800\ufffd]/g;
const LETTERS = /[\ufb00-\ufb06\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\u{1d400}-\u{1d7ff}]+/gu;
const WORD_ENDS = /(?<!\s)\s+/g;
const CLAUSE_ENDS =
  /(?<=[.!?;:,\u2013\u2014)])["'\u201d\u2019]?\s+|(?<!\s)[^\S\n]*\n\s*|(?<!\s)\s+(?=(?:but|although|though|however)\b)/gi;

/** Return a text in the form that the model reads; see clean_text in shared/tokens.py. */
export function cleanText(text) {
  if (text.length > MAX_CHARACTERS) throw new BadInput("The text may have at most 100,000 characters.");
  const plain = text.replace(/[\ud800-\udfff]/gu, "?").replace(/<br\s*\/?>/gi, "\n").replace(CONTROLS, "");
  const visible = plain.replace(BLANKS, " ").replace(INVISIBLE, "").replace(JOINERS, "");
  const cleaned = visible.replace(LETTERS, (found) => found.normalize("NFKC")).trim();
  if (!cleaned) throw new BadInput("There is no text; write a few words.");
  return cleaned;
}

const countWords = (text) => text.split(/\s+/).filter(Boolean).length;

export class Predictor {
  constructor(config, session, files) {
    this.config = config;
    this.session = session;
    const json = JSON.parse(new TextDecoder().decode(files["tokenizer.json"]));
    this.tokenizer = new Tokenizer(json, {});
    [this.first, this.last] = ["[CLS]", "[SEP]"].map((token) => this.tokenizer.token_to_id(token));
    this.latest = 0;
  }

  /** Return the prediction for a text as in Python's as_dict. */
  async predict(given) {
    const { config } = this;
    const text = cleanText(given);
    const { ids, read } = this.tokenize(text);
    const [probabilities, score] = await this.run(ids);
    const best = argmax(probabilities);
    const [a, b] = config.in_distribution_spread;
    const inDistribution = score >= config.in_distribution_mean - Math.sqrt(a + b / Math.max(ids.length, 1));
    const words = countWords(text);
    return {
      label: config.labels[best],
      probabilities: zip(config.labels, probabilities),
      is_clear: inDistribution && probabilities[best] >= config.min_clear_probability,
      in_distribution: inDistribution,
      in_distribution_score: score,
      words,
      words_read: Math.min(words, read.reduce((sum, [start, end]) => sum + countWords(text.slice(start, end)), 0)),
    };
  }

  /**
   * Return Shapley values of at most 16 parts of a text, as in Python's as_dict; null if a newer call has begun.
   * @param {string} given - the text
   * @param {number | null} part - the index of a part, whose words are explained instead
   * @param {(share: number) => void} report - called with the share that is done
   */
  async explain(given, part = null, report = () => {}) {
    const ticket = (this.latest += 1);
    const text = cleanText(given);
    const { ids, starts, read } = this.tokenize(text);
    let every = splitText(text, read);
    let parts = every.filter(([, isRead]) => isRead).map(([span]) => span);
    if (part !== null && every[part]?.[1]) {
      parts = mergeSpans(splitSpan(WORD_ENDS, text, ...every[part][0]));
      every = [...every.slice(0, part), ...parts.map((span) => [span, true]), ...every.slice(part + 1)];
    }
    const owner = starts.map((place) => parts.findIndex(([start, end]) => start <= place && place < end));
    const [whole] = await this.run(ids);
    const index = this.config.labels.length === 2 ? 1 : argmax(whole);
    const sets = parts.length <= EXACT_PARTS ? listSets(parts.length) : balanceSets(parts.length);
    const outputs = [];
    for (const set of sets) {
      const isWhole = set.every(Boolean);
      const kept = ids.filter((_, token) => owner[token] < 0 || set[owner[token]]);
      outputs.push(isWhole ? whole[index] : (await this.run(kept))[0][index]);
      report(outputs.length / sets.length);
      await new Promise((resolve) => setTimeout(resolve)); // so that a newer call is noticed
      if (ticket !== this.latest) return null;
    }
    const base = outputs[sets.findIndex((set) => !set.some(Boolean))];
    const fitted = parts.length <= EXACT_PARTS ? outputs : fitLogitSum(sets, outputs, base, whole[index]);
    const values = averageChanges(fitted);
    const rest = (whole[index] - base - values.reduce((sum, value) => sum + value, 0)) / parts.length;
    const contributions = new Map(parts.map((span, player) => [String(span), values[player] + rest]));
    return {
      label: this.config.labels[index],
      probability: whole[index],
      base,
      parts: every.map(([span]) => ({
        text: text.slice(...span),
        contribution: contributions.get(String(span)) ?? null,
      })),
    };
  }

  /**
   * Return the tokens of a text that the model reads: their ids, where the word of each starts, and the spans they cover.
   * Words are encoded one by one, since the tokenizer gives no places; it splits at spaces, so the tokens are the same.
   */
  tokenize(text) {
    const { max_tokens: longest, head } = this.config;
    const words = [...text.matchAll(/\S+/g)].map((found) => [found.index, found.index + found[0].length, found[0]]);
    const tokens = words.flatMap(([start, end, word]) =>
      this.tokenizer.encode(word, { add_special_tokens: false }).ids.map((id) => [id, start, end]),
    );
    const most = longest - 2;
    if (tokens.length <= most) {
      return { ids: tokens.map(([id]) => id), starts: tokens.map(([, start]) => start), read: [[0, text.length]] };
    }
    const kept = [...tokens.slice(0, head), ...tokens.slice(tokens.length - (most - head))];
    const read = [[0, kept[head - 1][2]], [kept[head][1], text.length]];
    return { ids: kept.map(([id]) => id), starts: kept.map(([, start]) => start), read };
  }

  /** Return the probabilities of some tokens, and their in-distribution score. */
  async run(ids) {
    const data = BigInt64Array.from([this.first, ...ids, this.last], BigInt);
    const found = await this.session.run({ input_ids: { data, dims: [1, data.length] } });
    const [logits, score] = this.session.outputs.map((name) => found[name].data);
    return [softmax(logits), score[0]];
  }
}

/** Split a text into consecutive spans, each with true if it was read; see split_text in shared/text_parts.py. */
export function splitText(text, read) {
  const split = (ends) => read.flatMap(([start, end]) => splitSpan(ends, text, start, end));
  let parts = split(WORD_ENDS);
  if (parts.length > MAX_PARTS) {
    const clauses = split(CLAUSE_ENDS);
    parts = clauses.length >= 4 ? clauses : parts;
  }
  const every = [];
  for (const [start, end] of mergeSpans(parts)) {
    const before = every.at(-1)?.[0][1] ?? 0;
    if (start > before) every.push([[before, start], false]);
    every.push([[start, end], true]);
  }
  const end = every.at(-1)[0][1];
  return end < text.length ? [...every, [[end, text.length], false]] : every;
}

function splitSpan(ends, text, start, end) {
  const cuts = [...text.slice(0, end).matchAll(ends)].map((found) => found.index + found[0].length);
  const edges = [start, ...cuts.filter((cut) => start < cut && cut < end).slice(0, 399), end];
  return edges.slice(1).map((edge, index) => [edges[index], edge]);
}

/** Merge the shortest pair of adjacent spans until at most 16 are left. */
function mergeSpans(spans) {
  const parts = [...spans];
  while (parts.length > MAX_PARTS) {
    const lengths = parts.slice(1).map(([start, end], index) => (parts[index][1] === start ? end - parts[index][0] : Infinity));
    const shortest = lengths.indexOf(Math.min(...lengths));
    parts.splice(shortest, 2, [parts[shortest][0], parts[shortest + 1][1]]);
  }
  return parts;
}

// --- Shapley values; see shared/shapley.py ---

const listSets = (players) =>
  Array.from({ length: 2 ** players }, (_, set) => Array.from({ length: players }, (__, player) => (set >> player) % 2 === 1));

/** Return at most 32 balanced sets of players: rows of a Hadamard matrix and of its negative. */
function balanceSets(players) {
  const columns = [0, 1, 2, 4, 8, 15, 3, 5, 6, 9, 10, 12, 7, 11, 13, 14].slice(0, players);
  const parity = (bits) => [...bits.toString(2)].filter((bit) => bit === "1").length % 2;
  const sets = new Map();
  for (const sign of [false, true]) {
    for (let row = 0; row < 16; row += 1) {
      const set = columns.map((column) => (parity(row & column) === 0) !== sign);
      sets.set(String(set), set);
    }
  }
  return [...sets.values()];
}

/** Return probabilities of all sets, in the order of listSets, whose logits are sums of effects fitted to `outputs`. */
function fitLogitSum(sets, outputs, base, whole) {
  const players = sets[0].length;
  const logit = (p) => Math.log(Math.min(Math.max(p, LEAST), 1 - LEAST)) - Math.log1p(-Math.min(Math.max(p, LEAST), 1 - LEAST));
  const [first, last] = [logit(base), logit(whole)];
  const sizes = sets.map((set) => set.filter(Boolean).length / players);
  const rows = sets.map((set, index) => set.map((isIn) => isIn - sizes[index]));
  const right = outputs.map((p, index) => logit(p) - (first + (last - first) * sizes[index]));
  // Rows add up to 0: adding 1 to each product of columns makes the solution unique, and that of least norm.
  const square = listColumns(players, (i, j) => rows.reduce((sum, row) => sum + row[i] * row[j], 1));
  const solution = solve(square, listColumns(players, (i) => rows.reduce((sum, row, k) => sum + row[i] * right[k], 0), 1));
  const effects = solution.map(([effect]) => effect + (last - first) / players);
  return sumEffects(effects).map((total) => 1 / (1 + Math.exp(-first - total)));
}

const listColumns = (size, value, width = size) =>
  Array.from({ length: size }, (_, i) => Array.from({ length: width }, (__, j) => value(i, j)));

const sumEffects = (effects) =>
  effects.reduce((totals, effect) => [...totals, ...totals.map((total) => total + effect)], [0]);

/** Return exact Shapley values for the outputs of all sets, in the order of listSets. */
function averageChanges(outputs) {
  const players = Math.log2(outputs.length);
  const choose = (n, k) => Array.from({ length: k }).reduce((product, _, i) => (product * (n - i)) / (i + 1), 1);
  const sizes = sumEffects(Array(players).fill(1));
  const weights = Array.from({ length: players }, (_, size) => 1 / (players * choose(players - 1, size)));
  return Array.from({ length: players }, (_, player) => {
    let sum = 0;
    for (let set = 0; set < outputs.length; set += 1) {
      if (!((set >> player) & 1)) sum += (outputs[set | (1 << player)] - outputs[set]) * weights[sizes[set]];
    }
    return sum;
  });
}
