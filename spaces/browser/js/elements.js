// Build and fill parts of a page.

import { parseJson } from "./checkpoint.js";

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

/** Move the focus to what usually has none, such as a heading. */
export const focusOn = (part) => Object.assign(part, { tabIndex: -1 }).focus({ preventScroll: true });

/** After a button in a box is gone, move the focus to the one that has taken its place, or to the box's heading. */
export function focusNext(box, index) {
  const buttons = box.querySelectorAll("button");
  const next = buttons[Math.min(index, buttons.length - 1)];
  if (next) next.focus();
  else focusOn(box.querySelector("h2"));
}

/** Return an error as a sentence on the page; one of this code is usually due to a model that does not fit it. */
export function describeError(error) {
  const isOurs = error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError;
  const words = isOurs ? `This answer cannot be shown (${error.message}); export the model again.` : error.message;
  return element("p", { className: "error", role: "alert" }, words);
}

/** Return a quiet paragraph. */
export const note = (text) => element("p", { className: "quiet" }, text);

/** Run a task when a form is submitted: by its button, or by Enter in a field. */
export function onSubmit(form, task) {
  form.onsubmit = (event) => {
    event.preventDefault();
    task();
  };
}

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

/** Add a button for each example, [text or picture, value], and use the first; or the input that was kept. */
export function addExamples(target, examples = [], use, first = examples[0]?.[1]) {
  target.append(...examples.map(([shown, value]) => element("button", { onclick: () => use(value) }, shown)));
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

/** Return a share in percent, without a space at which a line may break. */
export function formatPercent(share) {
  if (share > 0 && share < 0.0005) return "<\u00a00.1\u00a0%"; // instead of 0.0 %
  if (share >= 0.995 && share < 1) return ">\u00a099\u00a0%"; // instead of 100 %
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}\u00a0%`;
}

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

/** Return a table of rows of cells; the first row is its head. */
export function drawTable(rows) {
  const draw = (cells, row) => element("tr", {}, ...cells.map((cell) => element(row ? "td" : "th", {}, String(cell))));
  return element("table", {}, ...rows.map(draw));
}

/** Offer a blob as a file to download. */
export function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Fill a box to answer many inputs: a choice of files, a progress bar, a table of the first rows, and a CSV.
 * @param {string} hint - what the files must have
 * @param {{accept?: string, multiple?: boolean}} options - what can be chosen
 */
export function addBatch(root, model, title, hint, { accept = ".csv,.tsv,.txt", multiple = false } = {}) {
  const { heading, about, files, share, table } = fill(root, "batch-box");
  heading.textContent = title;
  about.textContent = hint;
  let newest = 0;
  const compute = async () => {
    const ticket = (newest += 1);
    const report = (done) => ticket === newest && (share.value = done);
    const { count, wrong, added, lines, csv } = await model.call("answerFiles", [[...files.files]], report);
    const button = element("button", { onclick: () => save("answers.csv", csv) }, "Download CSV");
    const move = (cells) => {
      const [given, answer, error] = [cells.slice(0, -added), cells.slice(-added, -1), cells.at(-1)];
      return [given[0], ...(wrong ? [error] : []), ...answer, ...given.slice(1)]; // to where a phone shows them
    };
    return [element("p", {}, `${count} rows, ${wrong} with an error `, button), drawTable(lines.map(move))];
  };
  const answer = runLatest(table, compute, () => {
    share.hidden = true;
    files.value = "";
  });
  const change = () => {
    if (!files.files.length) return;
    Object.assign(share, { hidden: false, value: 0 });
    answer();
  };
  Object.assign(files, { accept, multiple, onchange: change });
}
