// The page of a model for rows of a table: a form, the answer, its explanation, and "what if".

import * as page from "./elements.js";
import { formatDate, formatRange } from "./tables.js";

const { element } = page;
const EFFECTS = 16; // bars of an explanation

/** Show the page. */
export function show(root, model) {
  const { config } = model;
  const { columns, ignored, typical, numbers, descriptions, unit = "" } = config;
  const labels = config.task === "tabular-regression" ? null : config.labels;
  const { answer, form, why, curve, varied, plot, batch } = page.fill(root, "table-page");
  const name = (column) => descriptions?.[column] ?? column;
  const explained = (label) => (labels ? page.getLabelName(config, label) : name(config.target));
  const used = columns.filter((column) => !ignored.includes(column));
  const readRow = () => ({
    ...typical,
    ...Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, value || "?"])),
  });
  const [kept, keep] = page.recallInput((input) => typeof input === "object");
  const vary = page.runLatest(plot, async (row) => {
    const column = varied.value;
    const found = await model.call("whatIf", [row, column]);
    const show = numbers[column].date_format ? formatDate : String;
    const all = found.lines.flat();
    const format = labels ? page.formatPercent : makeFormat(Math.max(...all) - Math.min(...all));
    return drawCurve(found, `${explained(found.label)} for ${name(column)}`, format, show);
  });
  const explain = page.runLatest(why, async (row) => {
    const found = await model.call("explain", [row]);
    const effects = Object.entries(found.contributions).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const rows = effects
      .slice(0, EFFECTS)
      .map(([column, value]) => [`${name(column)}: ${nameValue(config, row[column])}`, value]);
    const largest = Math.abs(effects[0]?.[1] ?? 0);
    const format = labels ? page.formatPercent : makeFormat(largest);
    const size = labels ? (value) => (100 * value).toFixed(1) : format;
    const points = (value) => (value < 0 ? "−" : "+") + size(Math.abs(value));
    const inPoints = labels ? " (percentage points)" : "";
    const average = `${explained(found.label)}: on average ${format(found.base)}, here ${format(found.total)}.`;
    const words = `${average} What makes the difference${inPoints}:`;
    return [element("h2", {}, "Why?"), element("p", {}, words), page.drawBars(rows, points, true)];
  });
  const markWrong = (column) => {
    for (const field of root.querySelectorAll("[name]")) field.ariaInvalid = field.name === column ? "true" : null;
  };
  const predict = page.runOneAtATime((row) => model.call("predict", [row]));
  const ask = page.runLatest(answer, async () => {
    const row = readRow(); // once: it may have changed when the answer comes
    keep(row);
    const found = await predict(row).catch((error) => {
      markWrong(error.column);
      throw error;
    });
    markWrong();
    explain(row);
    if (!curve.hidden) vary(row);
    if (labels) {
      const bars = page.drawProbabilities(config, found.probabilities);
      return [element("h2", {}, page.getLabelName(config, found.label)), bars];
    }
    const [value, low, high] = [found.value, found.low, found.high].map(makeFormat(found.high - found.low));
    const range = `For nine of ten rows like this one, it is between ${low} and ${high} ${unit}`.trim();
    return [element("h2", {}, `${value} ${unit}`), element("p", {}, `${name(config.target)}. ${range}.`)];
  });
  form.oninput = ask; // before a field whose name hides it
  form.onsubmit = (event) => event.preventDefault();
  form.append(...used.map((column) => addField(config, column, name(column))));
  for (const field of root.querySelectorAll("[name]")) {
    const value = kept?.[field.name];
    const isChoice = !field.options || [...field.options].some((option) => option.value === value);
    if (typeof value === "string" && isChoice) field.value = value;
  }
  const curved = used.filter((column) => numbers[column]);
  varied.append(...curved.map((column) => element("option", { value: column }, name(column))));
  varied.onchange = () => vary(readRow());
  curve.hidden = !curved.length;
  ask();
  const measure = () => document.documentElement.style.setProperty("--answer", `${answer.offsetHeight}px`);
  new ResizeObserver(measure).observe(answer); // for the style sheet
  page.addBatch(batch, model, "Many rows", `A CSV with the columns ${model.config.columns.join(", ")}.`);
}

/** Return a function that writes numbers with as many decimals as one of this size needs for three digits. */
function makeFormat(size) {
  const digits = size > 0 ? Math.min(Math.max(0, 2 - Math.floor(Math.log10(size))), 20) : 2;
  return (value) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Return the display name of a value. */
const nameValue = ({ value_names: names = {} }, value) => {
  if (value === "?") return "unknown";
  return Object.hasOwn(names, value) ? names[value] : value;
};

/** Return a labelled input for a column: a list of categories, a number or a date. */
function addField(config, column, label) {
  const { typical, numbers, categories, open_categories: open = [] } = config;
  const common = { name: column, value: typical[column] };
  if (numbers[column]) {
    const { date_format: format, decimal, minimum, maximum } = numbers[column];
    const ends = format ? `${formatDate(minimum)} to ${formatDate(maximum)}` : formatRange(minimum, maximum);
    // Not of type "number", which hides a wrong text: it would count as unknown.
    const kind = format ? {} : { value: String(typical[column]).replace(".", decimal ?? ".") };
    const keys = format || minimum < 0 ? {} : { inputMode: "decimal" }; // a phone's decimal keys have no minus
    return element("label", {}, `${label} (${ends})`, element("input", { ...common, ...kind, ...keys }));
  }
  const options = categories[column].map((value) => element("option", { value }, nameValue(config, value)));
  if (!open.includes(column)) {
    const select = element("select", {}, ...options);
    return element("label", {}, label, Object.assign(select, common));
  }
  const choices = element("datalist", { id: `choices-${column}` }, ...options);
  const input = element("input", { ...common, autocomplete: "off" });
  input.setAttribute("list", choices.id);
  return element("label", {}, label, input, choices);
}

/** Return a line plot of an answer as one number varies; of a predicted number, with both ends of its interval. */
function drawCurve({ values, lines }, title, format, show) {
  const figure = element("div");
  const { svg, ...parts } = page.fill(figure, "curve-plot");
  const [low, high] = [values[0], values.at(-1)];
  const isShare = lines.length === 1;
  const [least, most] = isShare ? [0, 1] : [Math.min(...lines.flat()), Math.max(...lines.flat())];
  const x = (value) => 56 + (296 * (value - low)) / (high - low || 1);
  const y = (value) => 176 - (168 * (value - least)) / (most - least || 1);
  lines.forEach((line, index) => {
    const points = values.map((value, at) => `${x(value).toFixed(1)},${y(line[at]).toFixed(1)}`);
    svg.querySelectorAll("polyline")[index].setAttribute("points", points.join(" "));
  });
  const texts = {
    most: format(most),
    middle: format((least + most) / 2),
    least: format(least),
    low: show(low),
    high: show(high),
  };
  for (const [id, text] of Object.entries(texts)) parts[id].textContent = text;
  svg.ariaLabel = `${title}, from ${texts.low} to ${texts.high}`;
  return [figure];
}
