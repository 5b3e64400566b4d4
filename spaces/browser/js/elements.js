// Build and fill parts of a page.

import { writeCsv } from "./tables.js";

/** Return a new element with these attributes (functions become listeners) and children. Texts are never HTML. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (name in made && name !== "list") made[name] = value;
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
    if (name === "class") made.className = value;
  }
  made.append(...children);
  return made;
}

/** Show an error in an element, as a sentence; return the element. */
export function showError(target, error) {
  target.className = "error";
  target.setAttribute("role", "alert");
  target.textContent = error.message;
  return target;
}

export const formatPercent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/**
 * Return bars from 0 to the largest value, or to both sides of 0.
 * @param {[string, number, string?][]} rows - label, value, and a colour
 * @param {(value: number) => string} format
 * @param {boolean} isSigned - true for bars to both sides
 */
export function drawBars(rows, format = formatPercent, isSigned = false) {
  const largest = isSigned ? Math.max(...rows.map(([, value]) => Math.abs(value)), 1e-9) : 1;
  const cells = rows.flatMap(([label, value, colour]) => {
    const width = (Math.abs(value) / largest) * (isSigned ? 50 : 100);
    const bar = element("div", { class: "bar" });
    bar.style.width = `${width}%`;
    bar.style.left = isSigned ? `${value < 0 ? 50 - width : 50}%` : "0";
    if (colour ?? isSigned) bar.style.background = colour ?? (value < 0 ? "var(--down)" : "var(--up)");
    return [element("div", {}, label), element("div", { class: "track" }, bar), element("div", { class: "value" }, format(value))];
  });
  return element("div", { class: "bars" }, ...cells);
}

/** Return the display name of a label. */
export const getLabelName = (config, label) => config.label_names?.[label] ?? label;

/** Return bars of the `most` most probable labels. */
export function drawProbabilities(config, probabilities, most = Infinity) {
  const rows = Object.entries(probabilities).sort((a, b) => b[1] - a[1]);
  return drawBars(rows.slice(0, most).map(([label, p]) => [getLabelName(config, label), p]));
}

/** Return shares as cells of a table, in columns such as "probability cat". */
export const makeCells = (what, shares) =>
  Object.fromEntries(Object.entries(shares).map(([label, share]) => [`${what} ${label}`, share.toFixed(4)]));

/** Return the cells of a table that `describe` makes of the prediction for each input, or {error}. */
export async function answerEach(model, inputs, report, describe) {
  const cells = [];
  for (const input of inputs) {
    const found = await model.call("predict", input).catch((error) => ({ error: error.message }));
    cells.push(found.error ? { error: found.error } : describe(found));
    report(cells.length / inputs.length);
  }
  return cells;
}

/** Return a button that opens a choice of pictures; `options` are attributes of its input. */
export function addPictureButton(label, options, isPrimary = false) {
  const input = element("input", { type: "file", accept: "image/*", class: "hidden-input", ...options });
  return element("label", {}, input, element("span", { class: isPrimary ? "button primary" : "button" }, label));
}

/** Draw a picture over white on a canvas, which gets its shape and is at most `longest` pixels long. */
export function drawFitted(canvas, bitmap, longest) {
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

/** Return a function that runs `task` for the newest arguments only, and shows its errors in `target`. */
export function runLatest(task, target) {
  let latest = 0;
  return async (...args) => {
    const ticket = (latest += 1);
    try {
      const show = await task(...args);
      if (ticket === latest) show?.();
    } catch (error) {
      if (ticket === latest) target.replaceChildren(showError(element("p"), error));
    }
  };
}

/** Offer a text as a file to download. */
export function save(name, content, type) {
  const link = element("a", { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Return a box to answer many inputs: a choice of files, a progress bar, a table of the first rows, and a CSV.
 * @param {string} title
 * @param {{accept: string, multiple: boolean}} files - what can be chosen
 * @param {(files: File[], report: (share: number) => void) => Promise<object[]>} answer - returns the rows of the table
 */
export function addBatch(title, files, answer) {
  const progress = element("progress", { max: 1, value: 0, hidden: true, "aria-label": "Progress" });
  const shown = element("div", { class: "table" });
  const input = element("input", {
    type: "file",
    ...files,
    change: async () => {
      if (!input.files.length) return;
      progress.hidden = false;
      try {
        const rows = await answer([...input.files], (share) => (progress.value = share));
        const columns = [...new Set(rows.flatMap(Object.keys))];
        const cells = (values, tag) => element("tr", {}, ...values.map((value) => element(tag, {}, String(value ?? ""))));
        const lines = rows.slice(0, 50).map((row) => cells(columns.map((name) => row[name]), "td"));
        const button = element("button", { click: () => save("answers.csv", `\ufeff${writeCsv(rows)}`, "text/csv") }, "Download CSV");
        const count = element("p", {}, `${rows.length} rows, ${rows.filter((row) => row.error).length} with an error `, button);
        shown.replaceChildren(count, element("table", {}, cells(columns, "th"), ...lines));
      } catch (error) {
        shown.replaceChildren(showError(element("p"), error));
      }
      progress.hidden = true;
      input.value = "";
    },
  });
  return element("details", { class: "box" }, element("summary", {}, title), element("label", {}, "Choose files", input), progress, shown);
}
