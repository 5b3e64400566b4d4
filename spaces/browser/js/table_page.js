// The page of a model for rows of a table: a form, the answer, its explanation, and "what if".

import { addBatch, drawBars, drawProbabilities, element, formatPercent, getLabelName, makeCells, runLatest } from "./elements.js";
import { zip } from "./numbers.js";
import { formatDate, readCsv } from "./tables.js";

const EFFECTS = 16; // bars of an explanation

/** Show the page. */
export function show(root, model) {
  const { config } = model;
  const isNumber = config.task === "tabular-regression";
  const label = (column) => config.descriptions?.[column] ?? column;
  const [answer, why, curve] = [1, 2, 3].map(() => element("div", { class: "box" }));
  answer.setAttribute("aria-live", "polite");
  const name = (one) => (isNumber ? label(config.target) : `probability of ${getLabelName(config, one)}`);
  const format = isNumber ? formatNumber : formatPercent;
  const used = config.columns.filter((column) => !config.ignored.includes(column));
  const fields = used.map((column) => [column, addField(config, column, label(column))]);
  const readRow = () => ({ ...config.typical, ...Object.fromEntries(fields.map(([column, { input }]) => [column, input.value || "?"])) });
  const numbers = Object.keys(config.numbers).filter((column) => used.includes(column));
  const varied = element("select", { change: () => vary() }, ...numbers.map((column) => element("option", { value: column }, label(column))));
  const vary = runLatest(async () => {
    const found = await model.call("whatIf", readRow(), varied.value);
    const plot = drawCurve(found, `${name(found.label)} for ${label(varied.value)}`, format, isNumber, config.numbers[varied.value]);
    return () => curve.replaceChildren(element("h2", {}, "What if?"), element("label", {}, "Change", varied), plot);
  }, curve);
  const explain = runLatest(async () => {
    const row = readRow();
    const found = await model.call("explain", row);
    const rows = Object.entries(found.contributions).map(([column, value]) => [`${label(column)}: ${row[column]}`, value]);
    rows.sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const words = `The average ${name(found.label)} over a sample of the data is ${format(found.base)}; here it is ${format(found.total)}. Effect of each value${isNumber ? "" : ", in percentage points"}:`;
    const sign = (value) => (value < 0 ? "−" : "+");
    const points = (value) => sign(value) + (isNumber ? formatNumber(Math.abs(value)) : Math.abs(100 * value).toFixed(1));
    return () => why.replaceChildren(element("h2", {}, "Why?"), element("p", {}, words), drawBars(rows.slice(0, EFFECTS), points, true));
  }, why);
  const ask = runLatest(async () => {
    const found = await model.call("predict", readRow());
    explain();
    if (numbers.length) vary();
    return () => answer.replaceChildren(...(isNumber ? showNumber(config, found, label) : showLabels(config, found)));
  }, answer);
  const form = element("form", { class: "fields", input: ask, submit: (event) => event.preventDefault() }, ...fields.map(([, { box }]) => box));
  const many = addBatch("Many rows", { accept: ".csv,.tsv,.txt" }, (files, report) => answerAll(model, files[0], report));
  answer.classList.add("sticky");
  root.replaceChildren(answer, element("div", { class: "columns" }, form, element("div", {}, why, numbers.length ? curve : "")), many);
  ask();
}

const formatNumber = (value) => Number(value.toPrecision(4)).toLocaleString("en");

function showNumber(config, { value, low, high }, label) {
  const unit = config.unit ? ` ${config.unit}` : "";
  const words = `${label(config.target)}. For nine of ten rows like this one, it is between ${formatNumber(low)} and ${formatNumber(high)}${unit}.`;
  return [element("h2", {}, formatNumber(value) + unit), element("p", {}, words)];
}

const showLabels = (config, { label, probabilities }) => [
  element("h2", {}, getLabelName(config, label)),
  drawProbabilities(config, probabilities, 8),
];

/** Return an input for a column, with its label: a list of categories, a number or a date. */
function addField(config, column, label) {
  const value = config.typical[column];
  const span = config.numbers[column];
  const option = (one) => element("option", { value: one, selected: one === value }, one === "?" ? "unknown" : one);
  const isOpen = config.open_categories?.includes(column);
  const id = `choices-${column}`;
  let input;
  if (span) input = element("input", span.date_format ? { value } : { type: "number", value, min: span.minimum, max: span.maximum, step: "any" });
  else if (isOpen) input = element("input", { value, list: id, autocomplete: "off" });
  else input = element("select", {}, ...config.categories[column].map(option));
  const choices = isOpen ? element("datalist", { id }, ...config.categories[column].map(option)) : "";
  return { input, box: element("label", {}, label, input, choices) };
}

/** Return a line plot of an answer as one number varies; of a predicted number, with both ends of its interval. */
function drawCurve({ values, lines }, title, format, isNumber, span) {
  const [width, height, left, bottom] = [480, 200, 56, 24];
  const [low, high] = [values[0], values.at(-1)];
  const [least, most] = isNumber ? [Math.min(...lines.flat()), Math.max(...lines.flat())] : [0, 1];
  const x = (value) => left + ((value - low) / (high - low || 1)) * (width - left - 8);
  const y = (value) => 8 + (1 - (value - least) / (most - least || 1)) * (height - bottom - 8);
  const make = (tag, attributes, ...children) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const text = (value, attributes) => make("text", { "font-size": 12, fill: "var(--quiet)", ...attributes }, value);
  const show = (value) => String(span.date_format ? formatDate(value) : value);
  const axis = [least, (least + most) / 2, most].flatMap((value) => [
    make("line", { x1: left, x2: width - 8, y1: y(value), y2: y(value), stroke: "var(--line)" }),
    text(format(value), { x: left - 6, y: y(value) + 4, "text-anchor": "end" }),
  ]);
  const curves = lines.map((line, index) => {
    const points = values.map((value, at) => `${x(value).toFixed(1)},${y(line[at]).toFixed(1)}`).join(" ");
    return make("polyline", { points, fill: "none", stroke: index ? "var(--quiet)" : "var(--button)", "stroke-width": index ? 1 : 2 });
  });
  const ends = [text(show(low), { x: left, y: height - 6 }), text(show(high), { x: width - 8, y: height - 6, "text-anchor": "end" })];
  const labels = { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img", "aria-label": `${title}, from ${show(low)} to ${show(high)}` };
  return make("svg", labels, ...axis, ...ends, ...curves);
}

async function answerAll(model, file, report) {
  const rows = readCsv(await file.text(), model.config.columns);
  const inputs = rows.map((row) => Object.fromEntries(model.config.columns.map((column) => [column, row[column]])));
  const answers = await model.callWithProgress(report, "predictEach", inputs);
  const labels = model.config.labels?.length === 2 ? [model.config.labels[1]] : (model.config.labels ?? []);
  return rows.map((row, index) => {
    const { label, probabilities, value, low, high, error } = answers[index];
    if (error) return { ...row, error };
    if (value !== undefined) return { ...row, prediction: value, low, high };
    return { ...row, prediction: label, ...makeCells("probability", zip(labels, labels.map((one) => probabilities[one]))) };
  });
}
