// Recommendations by a factor model; shared/recommender.py is the same in Python.

import { Tensor } from "../vendor/onnxruntime-web/ort.wasm.min.mjs";
import { BadInput } from "./checkpoint.js";
import { range, sum } from "./numbers.js";
import { checkOutput, Predictor } from "./predictor.js";
import { dropZeros, normaliseName, quote, readCsv, readText } from "./tables.js";

const RIDGE = 5; // number of average ratings added to the visitor's own
const PERSON_FACTORS = 2; // the first factors say how a person rates; the others, their taste
const MOST = 10; // items in a list

// In Japanese or Hindi, marks are parts of letters; those of Hebrew and Arabic are vowels.
const ACCENTS =
  /([A-Za-z\u0370-\u03ff\u0400-\u04ff])[\u0300-\u036f]+|[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u0655]/g;
const HYPHENS = /[\u00b7\u2010-\u2015]/g; // keyboards have a hyphen for the dot of WALL·E, and for dashes
const fold = (title) =>
  moveArticle(
    normaliseName(title.replace(/\p{Cf}/gu, ""))
      .replace(HYPHENS, "-")
      .replaceAll("ı", "i")
      .replaceAll("ß", "ss")
      .normalize("NFD")
      .replace(ACCENTS, "$1")
      .normalize("NFC"),
  );
const YEAR = / \(\d{4}[-\d]*\)( \[\d+\])?$/; // at the end of a title
const ARTICLE = /^(the|an?) /;
const LAST_ARTICLE = /^([^(]*), (the|an?)( \(.*)?$/;
const moveArticle = (title) => title.replace(LAST_ARTICLE, "$2 $1$3");
const dot = (a, b) => a.reduce((total, value, index) => total + value * b[index], 0);

export default class Recommender extends Predictor {
  rowsAtOnce = 512;

  async prepare() {
    // Models of the demo have movies.csv; those of a user's own data, items.csv, and perhaps no users.
    const ofItem = (row) => row.item_id ?? row.movie_id;
    const items = [...this.readTable("items.csv"), ...this.readTable("movies.csv")];
    this.items = items.map(({ title, ratings, average, ...row }) => {
      return { id: ofItem(row), title, ratings: Number(ratings), average: parseFloat(average), folded: fold(title) };
    });
    this.rows = new Map(this.items.map(({ id }, row) => [id, row]));
    this.titles = [new Map(), new Map(), new Map()]; // those of an earlier one go first
    for (const item of this.items) {
      listForms(item.folded).forEach((forms, level) => {
        const titles = this.titles[level];
        for (const form of new Set(forms)) {
          if (!titles.has(form)) titles.set(form, []);
          titles.get(form).push(item);
        }
      });
    }
    this.users = new Map(this.config.users.map((user, row) => [String(user), row]));
    this.rated = this.readTable("ratings.csv").map((row) => [row.user_id, ofItem(row)]);
    const zero = new Tensor(new BigInt64Array(1), [1]);
    const found = await this.session.run({ user: zero, movie: zero });
    for (const output of Object.values(found)) checkOutput(output, output.dims);
    const [factors, variances, vectors] = ["factors", "variances", "users"].map((name) => {
      const { data, dims } = found[name];
      return range(dims[0]).map((row) => Array.from(data.subarray(row * dims[1], (row + 1) * dims[1])));
    });
    const [means, noise] = [Array.from(found.means.data), Array.from(found.noise.data)];
    Object.assign(this, { means, noise, factors, variances, vectors });
  }

  /** What one item is called, and several. */
  get nouns() {
    return this.config.item ?? ["movie", "movies"];
  }

  /** Return the titles of the `count` best known items. */
  listKnown(count) {
    const known = this.items.toSorted((a, b) => b.ratings - a.ratings);
    return known.slice(0, count).map(({ title }) => title);
  }

  /** Return items whose titles contain a text, as [id, title]: those that are it first, then those that begin with it. */
  search(text) {
    const wanted = fold(text);
    const isWhole = ({ folded }) => [folded, folded.split(" (")[0]].includes(wanted);
    const rank = (item) =>
      [isWhole(item), item.folded.startsWith(wanted), item.folded.includes(` ${wanted}`), true].indexOf(true);
    const found = this.items.filter((item) => wanted && item.folded.includes(wanted));
    found.sort((a, b) => rank(a) - rank(b) || b.ratings - a.ratings);
    return found.slice(0, MOST).map(({ id, title }) => [id, title]);
  }

  /** Return the item with this title, null if there is none; its year and article may be left out. */
  findTitle(text) {
    const wanted = fold(text);
    const found = this.titles.map((level) => level.get(wanted)).find(Boolean) ?? [];
    if (found.length < 2) return found[0] ?? null;
    const several = found.slice(0, 5).map(({ title }) => title);
    const more = found.length > 5 ? ` and ${found.length - 5} more` : "";
    throw new BadInput(
      `Several ${this.nouns[1]} are called ${quote(text)}: ${several.join(", ")}${more}. Give the full title.`,
    );
  }

  /** Return [id, title] of the item with this title, or of the only one whose title contains it. */
  find(text) {
    const item = this.findTitle(text);
    if (item) return [item.id, item.title];
    const near = this.search(text);
    if (near.length === 1) return near[0];
    const meant = near.slice(0, 3).map(([, title]) => title);
    const hint = meant.length
      ? `Did you mean ${meant.join(" or ")}?`
      : "Type a part of a title, and choose from the list.";
    throw new BadInput(`No ${this.nouns[0]} is called ${quote(text)}. ${hint}`);
  }

  /** Return the rating that a person gives an item; see scoreFor. */
  predict(person, item) {
    return { rating: this.clip(this.scoreFor(person)(this.findRow(item))) };
  }

  async readRows([file]) {
    const { users, files } = this.config;
    const ids = [...(users.length ? ["user_id"] : []), files["items.csv"] ? "item_id" : "movie_id"];
    const rows = readCsv(await readText(file), ids);
    return rows.map((one) => ({ ...one, input: [one.row.user_id, one.row[ids.at(-1)]] }));
  }

  /** Return the cells of a prediction in a CSV. */
  asCells({ rating }) {
    return { [`predicted ${this.config.unit ?? "stars"}`]: Number(rating.toFixed(3)) };
  }

  /** Return the parts of a user's predicted rating: base + contributions = rating before it is clipped. */
  explain(user, item) {
    const [vector, row] = [this.vectors[this.findUser(user)], this.findRow(item)];
    const base = sum(this.means) / this.means.length;
    const split = (start, end) => dot(this.factors[row].slice(start, end), vector.slice(start, end));
    const contributions = {
      [`the ${this.nouns[0]}, for everybody`]: this.means[row] - base,
      "how this user rates in general": split(0, PERSON_FACTORS),
      "this user's taste": split(PERSON_FACTORS),
    };
    return { base, contributions };
  }

  /** Return recommendations for a person, [[id, title, rating], ...]; see scoreFor. */
  recommend(person) {
    const isVisitor = Array.isArray(person);
    const row = isVisitor ? null : this.findUser(person);
    const rated = this.rated.filter(([user]) => this.users.get(user) === row).map(([, id]) => id);
    const seen = isVisitor ? person.map(([id]) => id) : rated;
    return this.findBest(this.scoreFor(person), seen, (rating) => this.clip(rating));
  }

  /** Return the items with the most similar factors: [[id, title, cosine], ...]. */
  similar(id) {
    const taste = this.factors.map((factors) => factors.slice(PERSON_FACTORS));
    const row = this.findRow(id);
    const length = (vector) => Math.sqrt(dot(vector, vector)) + 1e-12;
    const cosine = (other) => dot(taste[other], taste[row]) / (length(taste[other]) * length(taste[row]));
    return this.findBest(cosine, [id]);
  }

  /**
   * Return a function of an item's row: the predicted rating of a person.
   * @param {string | number | [string, number][]} person - a user of the data set; or the ratings of a visitor,
   *     [[id, rating], ...]; anything else is an average person if the model knows no users
   */
  scoreFor(person) {
    if (Array.isArray(person)) return this.scoreForVisitor(person);
    if (!this.users.size) return this.scoreForVisitor([]);
    const vector = this.vectors[this.findUser(person)];
    return (row) => this.means[row] + dot(this.factors[row], vector);
  }

  /** As scoreFor, of a visitor; see fold_in in Python. */
  scoreForVisitor(ratings) {
    const { items, means, noise, factors, variances } = this;
    const rated = ratings.map(([id, rating]) => [this.findRow(id), rating]);
    if (rated.length < (this.config.popularity_below ?? 0)) {
      const surprises = rated.map(([row, rating]) => rating - items[row].average);
      const generosity = sum(surprises) / (rated.length + RIDGE);
      return (row) => items[row].average + generosity;
    }
    const size = factors[0].length;
    const certain = size - variances[0].length;
    const addUp = (part) => sum(rated.map(([row, rating]) => part(row, rating) / noise[row]));
    const precision = range(size).map((i) => {
      const products = range(size).map((j) => addUp((row) => factors[row][i] * factors[row][j]));
      return products.with(i, products[i] + 1 + addUp((row) => variances[row][i - certain] ?? 0));
    });
    const right = range(size).map((i) => addUp((row, rating) => factors[row][i] * (rating - means[row])));
    const vector = solve(precision, right);
    return (row) => means[row] + dot(factors[row], vector);
  }

  /** Return the items with the best scores, [[id, title, score], ...], without those seen and those rarely rated. */
  findBest(score, seen, show = (value) => value) {
    const { min_ratings: least = 20 } = this.config;
    const suggested = this.items.filter(({ id, ratings }) => ratings >= least && !seen.includes(id));
    const scored = suggested.map(({ id, title }) => [id, title, score(this.rows.get(id))]);
    const best = scored.sort((a, b) => b[2] - a[2]).slice(0, MOST);
    return best.map(([id, title, value]) => [id, title, show(value)]);
  }

  clip(rating) {
    return Math.min(Math.max(rating, this.config.lowest), this.config.highest);
  }

  findUser(user) {
    const text = String(user ?? "").trim();
    const row = this.users.get(text) ?? this.users.get(dropZeros(text));
    if (row !== undefined) return row;
    const [first] = this.users.keys();
    if (user === undefined || user === null || user === "") throw new BadInput(`Give a user, such as ${first}.`);
    const { files, users } = this.config;
    const those = files["items.csv"] ? `such as ${first}` : `${Math.min(...users)} to ${Math.max(...users)}`;
    throw new BadInput(`There is no user ${quote(user)}; users are ${those}.`);
  }

  /** Return the row of an item by its id or title; a number is never a title here. */
  findRow(id) {
    const isNumber = Number.isFinite(Number(id));
    const text = String(id ?? "").trim();
    const row = this.rows.get(text) ?? this.rows.get(isNumber ? dropZeros(text) : this.findTitle(text)?.id);
    if (row !== undefined) return row;
    const [{ id: first, title }] = this.items;
    const those = this.config.files["items.csv"] ? "ids are those of the ratings" : "movie ids are those of MovieLens";
    const such = `${first}${title === first ? "" : ` for ${title}`}`;
    throw new BadInput(`There is no ${this.nouns[0]} ${quote(id)}; ${those}, such as ${such}.`);
  }
}

/** Return the forms of a folded title: itself; without its year and other titles; and all others, such as "matrix". */
function listForms(title) {
  const [year] = YEAR.exec(title) ?? [""];
  const whole = title.replace(YEAR, "");
  const parts = whole.split(/ *\((?:a\.k\.a\. )?|\) */).filter(Boolean);
  const first = title.startsWith("(") || !parts.length ? whole : parts[0];
  const names = [first, ...parts.slice(1).map(moveArticle)];
  const loose = [...names, ...names.map((name) => name.replace(ARTICLE, ""))];
  return [[title], [first], loose.flatMap((name) => [name, name + year])];
}

/** Solve a system of linear equations whose matrix is positive definite, so that it needs no pivoting. */
function solve(matrix, right) {
  const rows = matrix.map((row, index) => [...row, right[index]]);
  rows.forEach((pivot, column) => {
    for (const row of rows) {
      const factor = row === pivot ? 0 : row[column] / pivot[column];
      if (factor) row.forEach((_, place) => (row[place] -= factor * pivot[place]));
    }
  });
  return rows.map((row, index) => row.at(-1) / row[index]);
}
