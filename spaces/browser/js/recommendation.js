// Recommendations by a factor model; shared/recommender.py is the same in Python.

import { BadInput } from "./checkpoint.js";
import { solve } from "./numbers.js";
import { normaliseName, readCsv } from "./tables.js";

const RIDGE = 5; // number of average ratings added to the visitor's own
const PERSON_FACTORS = 2; // the first factors say how a person rates; the others, their taste

const fold = (title) => normaliseName(title).normalize("NFD").replace(/\p{Mn}/gu, "");
const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);

export class Predictor {
  constructor(config, session, files) {
    this.config = config;
    this.session = session;
    // Models of the demo have movies.csv; those of a user's own data, items.csv, and perhaps no users.
    const read = (name) => (files[name] ? readCsv(new TextDecoder().decode(files[name])) : []);
    const ofItem = (row) => row.item_id ?? row.movie_id;
    const items = read("items.csv" in files ? "items.csv" : "movies.csv");
    this.items = items.map((row) => ({
      id: ofItem(row),
      title: row.title,
      ratings: Number(row.ratings),
      average: parseFloat(row.average),
      folded: fold(row.title),
    }));
    this.rows = new Map(this.items.map((item, row) => [item.id, row]));
    this.users = new Map(config.users.map((user, row) => [String(user), row]));
    this.rated = read("ratings.csv").map((row) => [row.user_id, ofItem(row)]);
  }

  async prepare() {
    const zero = { data: new BigInt64Array(1), dims: [1] };
    const found = await this.session.run({ user: zero, movie: zero });
    const table = (name) => {
      const { data, dims: [rows, columns = 1] } = found[name]; // prettier-ignore
      return Array.from({ length: rows }, (_, row) => Array.from(data.subarray(row * columns, (row + 1) * columns)));
    };
    this.means = table("means").map(([value]) => value);
    this.noise = table("noise").map(([value]) => value);
    [this.factors, this.variances, this.vectors] = ["factors", "variances", "users"].map(table);
  }

  /** Return the titles of the `count` best known items. */
  listKnown(count) {
    return [...this.items].sort((a, b) => b.ratings - a.ratings).slice(0, count).map(({ title }) => title);
  }

  /** Return up to `count` items whose titles contain a text, as [id, title]: those that begin with it first. */
  search(text, count = 10) {
    const wanted = fold(text);
    const rank = ({ folded }) => (folded.startsWith(wanted) ? 0 : folded.includes(` ${wanted}`) ? 1 : 2);
    const found = this.items.filter((item) => wanted && item.folded.includes(wanted));
    found.sort((a, b) => rank(a) - rank(b) || b.ratings - a.ratings);
    return found.slice(0, count).map(({ id, title }) => [id, title]);
  }

  /** Return the predicted rating of a user of the data set. */
  predict(user, item) {
    const [vector, row] = [this.vectors[this.findUser(user)], this.findRow(item)];
    return { rating: this.clip(this.means[row] + dot(this.factors[row], vector)) };
  }

  /** Return {rating} or {error} for each [user, item]. */
  predictEach(pairs) {
    return pairs.map(([user, item]) => {
      try {
        return this.predict(user, item);
      } catch (error) {
        return { error: error.message };
      }
    });
  }

  /** Return the parts of a user's predicted rating: base + contributions = rating before it is clipped. */
  explain(user, item) {
    const [vector, row] = [this.vectors[this.findUser(user)], this.findRow(item)];
    const base = this.means.reduce((sum, value) => sum + value, 0) / this.means.length;
    const split = (start, end) => dot(this.factors[row].slice(start, end), vector.slice(start, end));
    const [one] = this.config.item ?? ["movie"];
    const contributions = {
      [`the ${one}, for everybody`]: this.means[row] - base,
      "how this user rates in general": split(0, PERSON_FACTORS),
      "this user's taste": split(PERSON_FACTORS),
    };
    return { base, contributions };
  }

  /** Return a user's recommendations: [[id, title, rating], ...]. */
  recommendFor(user, count = 10) {
    const vector = this.vectors[this.findUser(user)];
    const seen = new Set(this.rated.filter(([rater]) => rater === String(user)).map(([, id]) => id));
    return this.best((row) => this.means[row] + dot(this.factors[row], vector), seen, count);
  }

  /** Return recommendations for a visitor with ratings [[id, rating], ...]. */
  recommend(ratings, count = 10) {
    for (const [, rating] of ratings) {
      if (!(rating >= this.config.lowest && rating <= this.config.highest)) throw new BadInput("The rating is outside the scale.");
    }
    const seen = new Set(ratings.map(([id]) => String(id)));
    return this.best(this.scoreForVisitor(ratings), seen, count);
  }

  /** Return a function of an item's row: the visitor's predicted rating; see fold_in in Python. */
  scoreForVisitor(ratings) {
    const rows = ratings.map(([id]) => this.findRow(id));
    if (ratings.length < (this.config.popularity_below ?? 0)) {
      const surprises = ratings.map(([, rating], index) => rating - this.items[rows[index]].average);
      const generosity = surprises.reduce((sum, value) => sum + value, 0) / (ratings.length + RIDGE);
      return (row) => this.items[row].average + generosity;
    }
    const size = this.factors[0].length;
    const certain = size - this.variances[0].length;
    const precision = Array.from({ length: size }, (_, i) => Array.from({ length: size }, (__, j) => Number(i === j)));
    const right = Array.from({ length: size }, () => [0]);
    rows.forEach((row, index) => {
      const [factors, noise] = [this.factors[row], this.noise[row]];
      for (let i = 0; i < size; i += 1) {
        for (let j = 0; j < size; j += 1) precision[i][j] += (factors[i] * factors[j]) / noise;
        if (i >= certain) precision[i][i] += this.variances[row][i - certain] / noise;
        right[i][0] += (factors[i] * (ratings[index][1] - this.means[row])) / noise;
      }
    });
    const vector = solve(precision, right).map(([value]) => value);
    return (row) => this.means[row] + dot(this.factors[row], vector);
  }

  /** Return the items with the most similar factors: [[id, title, cosine], ...]. */
  similar(id, count = 10) {
    const taste = this.factors.map((factors) => factors.slice(PERSON_FACTORS));
    const row = this.findRow(id);
    const length = (vector) => Math.sqrt(dot(vector, vector)) + 1e-12;
    const cosine = (other) => dot(taste[other], taste[row]) / (length(taste[other]) * length(taste[row]));
    return this.best(cosine, new Set([String(id)]), count, false);
  }

  best(score, seen, count, isRating = true) {
    const rows = this.items.flatMap(({ id, ratings }, row) => (ratings >= (this.config.min_ratings ?? 20) && !seen.has(id) ? [row] : []));
    const scored = rows.map((row) => [row, score(row)]).sort((a, b) => b[1] - a[1]);
    return scored.slice(0, count).map(([row, value]) => [this.items[row].id, this.items[row].title, isRating ? this.clip(value) : value]);
  }

  clip(value) {
    return Math.min(Math.max(value, this.config.lowest), this.config.highest);
  }

  findUser(user) {
    const row = this.users.get(String(user));
    if (row === undefined) throw new BadInput(`There is no user ${user}.`);
    return row;
  }

  findRow(id) {
    const row = this.rows.get(String(id));
    if (row === undefined) throw new BadInput(`There is no ${(this.config.item ?? ["movie"])[0]} ${id}.`);
    return row;
  }
}
