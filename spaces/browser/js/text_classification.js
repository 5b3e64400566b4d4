// Text classification with Shapley values of the parts of a text; shared/text_classifier.py is the same in Python.

import { Tensor } from "../vendor/onnxruntime-web/ort.wasm.min.mjs";
import { Tokenizer } from "../vendor/tokenizers/tokenizers.min.mjs";
import { BadInput } from "./checkpoint.js";
import { argmax, range, softmax, sum, zip } from "./numbers.js";
import { Predictor, checkOutput, makeCells } from "./predictor.js";
import { readCsv, readText, stripInvisible } from "./tables.js";

const MAX_CHARACTERS = 100_000;
const MAX_TEXTS = 5000; // in a file
const MAX_PARTS = 16;
const EXACT_PARTS = 5;
const LEAST = 1e-9;
const CHARACTERS_PER_TOKEN = 32;
const WORDS = /[\p{P}$+<=>^`|~\p{Script=Han}]|[^\s\p{P}$+<=>^`|~\p{Script=Han}]+/gu; // as BERT splits a text
const CONTROLS = /[\x00-\x08\x0e-\x1b\x7f]/g;
const BLANKS = /[\x0b\x0c\x1c-\x1f\x80-\x9f\u2028\u2029\u202f\u2800\ufffd]/g;
const LETTERS = /[\ufb00-\ufb06\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\u{1d400}-\u{1d7ff}]+/gu;
const WORD_ENDS = /(?<!\s)\s+/g;
const CLAUSE_ENDS =
  /(?<=[.!?;:,\u2013\u2014)])["'\u201d\u2019]?\s+|(?<!\s)[^\S\n]*\n\s*|(?<!\s)\s+(?=(?:but|although|though|however)\b)/gi;

/** Return a text in the form that the model reads; see clean_text in shared/tokens.py. */
function cleanText(text) {
  if (text.length > MAX_CHARACTERS && [...text].length > MAX_CHARACTERS)
    throw new BadInput("The text may have at most 100,000 characters.");
  const plain = text
    .replace(/[\ud800-\udfff]/gu, "?")
    .replace(/<br\s*\/?>/gi, "\n")
    .replace(CONTROLS, "");
  const visible = stripInvisible(plain.replace(BLANKS, " "));
  const cleaned = visible.replace(LETTERS, (found) => found.normalize("NFKC")).trim();
  if (!cleaned) throw new BadInput("There is no text; write a few words.");
  return cleaned;
}

const span = (start, end) => ({ start, end, isRead: true });
const countWords = (text) => text.split(/\s+/).filter(Boolean).length;

export default class TextClassifier extends Predictor {
  prepare() {
    this.tokenizer = new Tokenizer(JSON.parse(new TextDecoder().decode(this.files["tokenizer.json"])), {});
    [this.first, this.last] = ["[CLS]", "[SEP]"].map((token) => this.tokenizer.token_to_id(token));
  }

  /** Return the prediction for a text as in Python's as_dict. */
  async predict(given) {
    const { config } = this;
    const text = cleanText(given);
    const { tokens, read } = this.tokenize(text);
    const [probabilities, score] = await this.run(tokens);
    const best = argmax(probabilities);
    const [a, b] = config.in_distribution_spread;
    const inDistribution = score >= config.in_distribution_mean - Math.sqrt(a + b / Math.max(tokens.length, 1));
    const words = countWords(text);
    return {
      label: config.labels[best],
      probabilities: zip(config.labels, probabilities),
      is_clear: inDistribution && probabilities[best] >= config.min_clear_probability,
      in_distribution: inDistribution,
      in_distribution_score: score,
      words,
      words_read: Math.min(words, sum(read.map(({ start, end }) => countWords(text.slice(start, end))))),
    };
  }

  /** Return a row for each line of a text file, or each row of a CSV with a column `text`. */
  async readRows([file]) {
    const content = await readText(file);
    if (!file.name.toLowerCase().endsWith(".txt")) {
      return readCsv(content, ["text"], MAX_TEXTS).map((one) => ({ ...one, input: [one.row.text] }));
    }
    const lines = content.split(/\r\n?|\n/).filter((line) => stripInvisible(line).trim());
    if (lines.length > MAX_TEXTS) {
      throw new BadInput("The file has more than 5,000 lines; split it into smaller files.");
    }
    return lines.map((text) => ({ names: ["text"], values: [text], input: [text] }));
  }

  /** Return the cells of a prediction in a CSV. */
  asCells({ label, is_clear: isClear, probabilities }) {
    return {
      prediction: label,
      clear: isClear ? "yes" : "no",
      ...makeCells("probability", this.config.labels, probabilities),
    };
  }

  /**
   * Return Shapley values of at most 16 parts of a text, as in Python's as_dict; null if a newer call has begun.
   * @param {string} given - the text
   * @param {number | null} part - the index of a part, whose words are explained instead
   * @param {(share: number) => void} report - called with the share that is done
   */
  async explain(given, part, report) {
    const isOld = this.begin();
    const text = cleanText(given);
    const { tokens, read } = this.tokenize(text);
    let spans = splitText(text, read);
    let parts = spans.filter(({ isRead }) => isRead);
    if (spans[part]?.isRead) {
      parts = mergeSpans(splitSpan(WORD_ENDS, text, spans[part]));
      spans = spans.toSpliced(part, 1, ...parts);
    }
    const owners = tokens.map((token) =>
      parts.findIndex(({ start, end }) => start <= token.start && token.start < end),
    );
    const [whole] = await this.run(tokens);
    const index = this.config.labels.length === 2 ? 1 : argmax(whole);
    const isExact = parts.length <= EXACT_PARTS;
    const sets = isExact ? listSets(parts.length) : balanceSets(parts.length);
    const outputs = [];
    for (const set of sets) {
      const [found] = await this.run(tokens.filter((_, token) => set[owners[token]] ?? true));
      outputs.push(found[index]);
      report(outputs.length / sets.length);
      if (await isOld()) return null;
    }
    const base = outputs[sets.findIndex((set) => !set.some(Boolean))];
    const values = averageChanges(isExact ? outputs : fitLogitSum(sets, outputs, base, whole[index]), parts.length);
    const rest = (whole[index] - base - sum(values)) / parts.length;
    const explained = spans.map((part) => ({
      text: text.slice(part.start, part.end),
      contribution: parts.includes(part) ? values[parts.indexOf(part)] + rest : null,
    }));
    return { label: this.config.labels[index], probability: whole[index], base, parts: explained };
  }

  /**
   * Return the tokens of a text that the model reads, each with the place of its word, and the spans that they cover.
   *
   * Words are encoded one by one, since the tokenizer gives no places; it splits as WORDS does, so the tokens are the
   * same. Of a long text, only both ends are encoded; see read_tokens in shared/tokens.py.
   */
  tokenize(text) {
    const most = this.config.max_tokens - 2;
    const enough = CHARACTERS_PER_TOKEN * most;
    const encode = (from, to) =>
      [...text.slice(from, to).matchAll(WORDS)].flatMap(({ 0: word, index }) => {
        const { ids } = this.tokenizer.encode(word, { add_special_tokens: false });
        return ids.map((id) => ({ id, start: from + index, end: from + index + word.length }));
      });
    const isLong = text.length > 2 * enough;
    const start = encode(0, isLong ? enough : text.length);
    if (!isLong && start.length <= most) return { tokens: start, read: [span(0, text.length)] };
    const end = isLong ? encode(text.length - enough, text.length) : start;
    const head = start.slice(0, this.config.head);
    const tail = end.slice(Math.max(0, end.length - most + this.config.head));
    const cut = head.at(-1)?.end ?? 0;
    const read = [span(0, cut), span(Math.max(cut, tail[0]?.start ?? text.length), text.length)];
    return { tokens: [...head, ...tail], read: read.filter((part) => part.start < part.end) };
  }

  /** Return the probabilities of some tokens, and their in-distribution score. */
  async run(tokens) {
    const ids = BigInt64Array.from([this.first, ...tokens.map(({ id }) => id), this.last], BigInt);
    const found = await this.session.run({ input_ids: new Tensor(ids, [1, ids.length]) });
    const [logits, score] = this.session.outputNames.map((name) => found[name]);
    checkOutput(logits, [1, this.config.labels.length]);
    checkOutput(score, [1]);
    return [softmax(logits.data), score.data[0]];
  }
}

/** Split a text into consecutive spans, some of which were read; see split_text in shared/text_parts.py. */
function splitText(text, read) {
  const split = (ends) => read.flatMap((part) => splitSpan(ends, text, part));
  const [words, clauses] = [split(WORD_ENDS), split(CLAUSE_ENDS)];
  const parts = mergeSpans(words.length > MAX_PARTS && clauses.length >= 4 ? clauses : words);
  const every = parts.flatMap((part, index) => [{ start: parts[index - 1]?.end ?? 0, end: part.start }, part]);
  return [...every, { start: parts.at(-1).end, end: text.length }].filter(({ start, end }) => start < end);
}

function splitSpan(ends, text, { start, end }) {
  const cuts = [...text.slice(0, end).matchAll(ends)].map((found) => found.index + found[0].length);
  const edges = [start, ...cuts.filter((cut) => start < cut && cut < end).slice(0, 399), end];
  return edges.slice(1).map((edge, index) => span(edges[index], edge));
}

/** Merge the shortest pair of adjacent spans until at most 16 are left. */
function mergeSpans(spans) {
  if (spans.length <= MAX_PARTS) return spans;
  const merged = spans.slice(1).map(({ end }, index) => span(spans[index].start, end));
  const lengths = merged.map(({ start, end }, index) =>
    spans[index].end === spans[index + 1].start ? end - start : Infinity,
  );
  const shortest = lengths.indexOf(Math.min(...lengths));
  return mergeSpans(spans.toSpliced(shortest, 2, merged[shortest]));
}

// --- Shapley values; see shared/shapley.py ---

/** Return all sets of players, as lists of booleans. */
const listSets = (players) =>
  range(2 ** players).map((set) => range(players).map((player) => (set >> player) % 2 === 1));

/** Return 32 balanced sets of players: rows of a Hadamard matrix and of its negative. */
function balanceSets(players) {
  const columns = [0, 1, 2, 4, 8, 15, 3, 5, 6, 9, 10, 12, 7, 11, 13, 14].slice(0, players);
  const isOdd = (bits) => range(4).filter((bit) => (bits >> bit) & 1).length % 2 === 1;
  return range(32).map((row) => columns.map((column) => isOdd(row & column) !== row < 16));
}

/** Return probabilities of all sets, in the order of listSets, whose logits are sums of effects fitted to `outputs`. */
function fitLogitSum(sets, outputs, base, whole) {
  const logits = [base, whole, ...outputs].map((p) => {
    const inside = Math.min(Math.max(p, LEAST), 1 - LEAST);
    return Math.log(inside) - Math.log1p(-inside);
  });
  const [first, last, ...found] = logits;
  const players = sets[0].length;
  const sizes = sets.map((set) => set.filter(Boolean).length / players);
  // The least squares, in closed form: the columns of the Hadamard matrix are orthogonal.
  const effects = range(players).map((player) => {
    const products = sets.map((set, index) => (set[player] - sizes[index]) * found[index]);
    return sum(products) / (sets.length / 4) + (last - first) / players;
  });
  return sumEffects(effects).map((total) => 1 / (1 + Math.exp(-first - total)));
}

/** Return the sum of effects of the players in each set, in the order of listSets. */
const sumEffects = (effects) =>
  effects.reduce((totals, effect) => [...totals, ...totals.map((total) => total + effect)], [0]);

/** Return exact Shapley values for the outputs of all sets, in the order of listSets. */
function averageChanges(outputs, players) {
  const sizes = sumEffects(Array(players).fill(1));
  const weights = [1 / players]; // of a change, by the size of the set before it
  for (let size = 1; size < players; size += 1) weights.push((weights[size - 1] * size) / (players - size));
  return range(players).map((player) => {
    const changes = outputs.map((output, set) =>
      (set >> player) & 1 ? 0 : (outputs[set | (1 << player)] - output) * weights[sizes[set]],
    );
    return sum(changes);
  });
}
