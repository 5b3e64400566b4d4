// The page of a model for rows of a table: a form, the answer, its explanation, and "what if".

import { addBatch, drawBars, element, formatPercent, runLatest } from "./elements.js";
import { readCsv, writeCsv } from "./tables.js";

/** Show the page. */
export function show(root, model) {
  const { config } = model;
  const label = (column) => config.descriptions?.[column] ?? column;
  const [answer, why, curve] = [1, 2, 3].map(() => element("div", { class: "box" }));
  answer.setAttribute("aria-live", "polite");
  const second = config.labels[1];
  const fields = config.columns.filter((column) => !config.ignored.includes(column)).map((column) => [column, addField(config, column, label(column))]);
  const readRow = () => ({ ...config.typical, ...Object.fromEntries(fields.map(([column, { input }]) => [column, input.value || "?"])) });
  const numbers = Object.keys(config.numbers).filter((column) => !config.ignored.includes(column));
  const varied = element("select", { change: () => vary() }, ...numbers.map((column) => element("option", { value: column }, label(column))));
  const vary = runLatest(async () => {
    const found = await model.call("whatIf", readRow(), varied.value);
    return () => curve.replaceChildren(...drawCurve(found, label(varied.value), second, varied));
  }, curve);
  const explain = runLatest(async () => {
    const found = await model.call("explain", readRow());
    const rows = Object.entries(found.contributions).map(([column, value]) => [`${label(column)}: ${readRow()[column]}`, value]);
    rows.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const words = `The average probability of ${second} over a sample of the data is ${formatPercent(found.base)}; here it is ${formatPercent(found.probability)}. Effect of each value, in percentage points:`;
    const points = (value) => `${value < 0 ? "−" : "+"}${Math.abs(100 * value).toFixed(1)}`;
    return () => why.replaceChildren(element("h2", {}, "Why?"), element("p", {}, words), drawBars(rows, points, true));
  }, why);
  const ask = runLatest(async () => {
    const found = await model.call("predict", readRow());
    explain();
    if (numbers.length) vary();
    const rows = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]);
    return () => answer.replaceChildren(element("h2", {}, found.label), drawBars(rows));
  }, answer);
  const form = element("form", { class: "fields", input: ask, submit: (event) => event.preventDefault() }, ...fields.map(([, { box }]) => box));
  const many = addBatch("Many rows", { accept: ".csv,.tsv,.txt" }, (files, report) => answerAll(model, files[0], report), writeCsv);
  root.replaceChildren(element("div", { class: "columns" }, form, element("div", {}, answer, why, numbers.length ? curve : "")), many);
  ask();
}

/** Return an input for a column, with its label: a list of categories, or a number. */
function addField(config, column, label) {
  const value = config.typical[column];
  const span = config.numbers[column];
  const input = span
    ? element("input", { type: "number", value, min: span.minimum, max: span.maximum, step: "any" })
    : element("select", {}, ...config.categories[column].map((one) => element("option", { value: one, selected: one === value }, one === "?" ? "unknown" : one)));
  return { input, box: element("label", {}, label, input) };
}

/** Return a line plot of the probability as one number varies. */
function drawCurve({ values, probabilities }, name, second, varied) {
  const [width, height, left, bottom] = [480, 200, 42, 24];
  const [low, high] = [values[0], values.at(-1)];
  const x = (value) => left + ((value - low) / (high - low || 1)) * (width - left - 8);
  const y = (p) => 8 + (1 - p) * (height - bottom - 8);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("class", "curve");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `The probability of ${second} for ${name} from ${low} to ${high}`);
  const add = (tag, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    svg.append(made);
  };
  for (const p of [0, 0.5, 1]) {
    add("line", { x1: left, x2: width - 8, y1: y(p), y2: y(p), stroke: "var(--line)" });
    add("text", { x: left - 6, y: y(p) + 4, "text-anchor": "end", "font-size": 12, fill: "var(--quiet)" }, formatPercent(p));
  }
  add("text", { x: left, y: height - 6, "font-size": 12, fill: "var(--quiet)" }, low);
  add("text", { x: width - 8, y: height - 6, "text-anchor": "end", "font-size": 12, fill: "var(--quiet)" }, high);
  const points = values.map((value, index) => `${x(value).toFixed(1)},${y(probabilities[index]).toFixed(1)}`).join(" ");
  add("polyline", { points, fill: "none", stroke: "var(--button)", "stroke-width": 2 });
  return [element("h2", {}, "What if?"), element("label", {}, "Change", varied), svg];
}

async function answerAll(model, file, report) {
  const rows = readCsv(await file.text(), model.config.columns);
  const inputs = rows.map((row) => Object.fromEntries(model.config.columns.map((column) => [column, row[column]])));
  const answers = await model.callWithProgress(report, "predictEach", inputs);
  const second = model.config.labels[1];
  return rows.map((row, index) => {
    const { label, probabilities, error } = answers[index];
    return { ...row, ...(error ? { error } : { prediction: label, [`probability ${second}`]: probabilities[second].toFixed(4) }) };
  });
}
