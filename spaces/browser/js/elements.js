// Build and fill parts of a page.

import { parseJson } from "./checkpoint.js";
import { writeCsv } from "./tables.js";

const SHOWN_ROWS = 50; // of a table of answers

/** Return a new element with these properties (also listeners, such as onclick) and children. Texts are never HTML. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Put the content of a template of index.html into an element; return its parts by their ids. */
export function fill(root, template) {
  root.replaceChildren(document.getElementById(template).content.cloneNode(true));
  return Object.fromEntries([...root.querySelectorAll("[id]")].map((part) => [part.id, part]));
}

/** Return an error as a sentence on the page. */
export const describeError = (error) => element("p", { className: "error", role: "alert" }, error.message);

/** Return a quiet paragraph. */
export const note = (text) => element("p", { className: "quiet" }, text);

/** Return a function that shows the result or error of `task` in `target`, then calls `end`: of the newest call only. */
export function runLatest(target, task, end = () => {}) {
  let latest = 0;
  return async (...args) => {
    const ticket = (latest += 1);
    target.ariaBusy = "true"; // which the style sheet shows
    const shown = await task(...args).catch((error) => [describeError(error)]);
    if (ticket !== latest) return;
    target.replaceChildren(...shown);
    target.ariaBusy = "false";
    end();
  };
}

/** Return a function that runs `task` for one call at a time, and then for the newest of those that came meanwhile. */
export function runOneAtATime(task) {
  let newest = 0;
  let running = Promise.resolve();
  return (...args) => {
    const ticket = (newest += 1);
    const found = running.then(() => {
      if (ticket !== newest) throw new Error("There is a newer call.");
      return task(...args);
    });
    running = found.catch(() => {});
    return found;
  };
}

/** Add a button for each example, [title, value], and use the first; or the input that was kept. */
export function addExamples(target, examples = [], use, first = examples[0]?.[1]) {
  target.append(...examples.map(([title, value]) => element("button", { onclick: () => use(value) }, title)));
  if (first !== undefined) use(first);
}

/** Return the input that this tab kept for the page shown now, if `check` takes it, and a function that keeps another. */
export function recallInput(check) {
  const key = `input ${location.href}`;
  const keep = (input) => {
    try {
      sessionStorage.setItem(key, JSON.stringify(input));
    } catch {} // a frame may have no storage, and it may be full
  };
  try {
    const input = parseJson(sessionStorage.getItem(key));
    if (check(input)) return [input, keep];
  } catch {}
  return [undefined, keep];
}

export const formatPercent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/**
 * Return bars from 0 to 1; or to both sides of 0, up to the largest value.
 * @param {[string | Node, number, string?][]} rows - label, value, and a colour
 * @param {(value: number) => string} format
 * @param {boolean} isSigned - true for bars to both sides
 */
export function drawBars(rows, format = formatPercent, isSigned = false) {
  const largest = isSigned ? 2 * Math.max(...rows.map(([, value]) => Math.abs(value)), 1e-9) : 1;
  const cells = rows.flatMap(([label, value, colour = "var(--button)"]) => {
    const bar = element("div", { className: "bar" });
    const width = (100 * Math.abs(value)) / largest;
    bar.style.width = `${width}%`;
    bar.style.left = `${isSigned ? 50 - (value < 0 ? width : 0) : 0}%`;
    bar.style.backgroundColor = !isSigned ? colour : value < 0 ? "var(--down)" : "var(--up)";
    const track = element("div", { className: "track" }, bar);
    return [element("div", {}, label), track, element("div", { className: "value" }, format(value))];
  });
  return element("div", { className: "bars" }, ...cells);
}

/** Return the display name of a label. */
export const getLabelName = (config, label) => config.label_names?.[label] ?? label;

/** Return bars of the `most` most probable labels. */
export function drawProbabilities(config, probabilities, most = 8) {
  const rows = config.labels.map((label) => [label, probabilities[label]]).sort((a, b) => b[1] - a[1]);
  return drawBars(rows.slice(0, most).map(([label, p]) => [getLabelName(config, label), p]));
}

/** Return shares as cells of a table, in columns such as "probability cat". */
export const makeCells = (what, labels, shares) =>
  Object.fromEntries(labels.map((label) => [`${what} ${label}`, shares[label].toFixed(4)]));

/** Offer a blob as a file to download. */
export function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Fill a box to answer many inputs: a choice of files, a progress bar, a table of the first rows, and a CSV.
 * @param {(files: File[]) => Promise<object[]>} read - returns the names and values of each row, an error if there is
 *     one, and the arguments of `predict` for it, `input`
 * @param {(answer: object) => object} describe - returns the cells of an answer
 * @param {{accept?: string, multiple?: boolean, size?: number}} options - what can be chosen, and how many inputs are
 *     answered at once
 */
export function addBatch(root, model, title, read, describe, options = {}) {
  const { accept = ".csv,.tsv,.txt", multiple = false, size = 1 } = options;
  const { heading, files, share, table } = fill(root, "batch-box");
  heading.textContent = title;
  const answer = runLatest(table, async () => {
    const rows = await read([...files.files]);
    if (!rows.length) throw new Error("The file has no rows; write one for each prediction.");
    for (let done = 0; done < rows.length; done += size) {
      const good = rows.slice(done, done + size).filter(({ error }) => !error);
      const answers = await model.call("predictEach", [good.map(({ input }) => input)]);
      answers.forEach((one, index) => Object.assign(good[index], one.error ? one : { cells: describe(one) }));
      share.value = (done + good.length) / rows.length;
    }
    const [{ names }] = rows;
    const added = [...Object.keys(rows.find(({ cells }) => cells)?.cells ?? {}), "error"];
    const lines = rows.map(({ values, cells, error }) => {
      const found = { ...cells, error: error || "" };
      return [...names.map((_, index) => values[index] ?? ""), ...added.map((name) => found[name] ?? "")];
    });
    lines.unshift([...names.map((name) => (added.includes(name) ? `${name} (yours)` : name)), ...added]);
    const csv = new Blob(["\ufeff", writeCsv(lines)], { type: "text/csv" });
    const button = element("button", { onclick: () => save("answers.csv", csv) }, "Download CSV");
    const wrong = rows.filter(({ error }) => error).length;
    const shown = lines.slice(0, 1 + SHOWN_ROWS).map((line, row) => {
      return element("tr", {}, ...line.map((cell) => element(row ? "td" : "th", {}, String(cell))));
    });
    return [element("p", {}, `${rows.length} rows, ${wrong} with an error `, button), element("table", {}, ...shown)];
  });
  const change = async () => {
    share.hidden = false;
    await answer();
    share.hidden = true;
    files.value = "";
  };
  Object.assign(files, { accept, multiple, onchange: change });
}
