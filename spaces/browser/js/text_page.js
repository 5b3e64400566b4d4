// The page of a text classifier.

import { addBatch, answerEach, drawProbabilities, element, formatPercent, getLabelName, makeCells, runLatest } from "./elements.js";
import { readCsv } from "./tables.js";

/** Show the page. */
export function show(root, model) {
  const { config } = model;
  const answer = element("div", { class: "box", "aria-live": "polite" }, element("h2", {}, "Write a text"));
  const why = element("div", { class: "box" });
  const text = element("textarea", { rows: 5, "aria-label": "The text" });
  const ask = runLatest(async () => {
    why.replaceChildren(element("p", { class: "quiet" }, "Press Explain to see which words decided it."));
    if (!text.value.trim()) return () => answer.replaceChildren(element("h2", {}, "Write a text"));
    const found = await model.call("predict", text.value);
    const headline = !found.in_distribution
      ? "This is unlike the texts the model was trained on."
      : found.is_clear ? `${getLabelName(config, found.label)}.` : "Not sure: no label is likely enough."; // prettier-ignore
    const note = `The model read ${found.words_read} of ${found.words} words: the beginning and the end.`;
    const parts = [element("h2", {}, headline), drawProbabilities(config, found.probabilities)];
    return () => answer.replaceChildren(...parts, found.words_read < found.words ? element("p", { class: "quiet" }, note) : "");
  }, answer);
  const explain = runLatest(async (part = null) => {
    const progress = element("progress", { max: 1, value: 0, "aria-label": "Progress" });
    why.replaceChildren(progress);
    const found = await model.callWithProgress((share) => (progress.value = share), "explain", text.value, part);
    return found && (() => why.replaceChildren(...drawParts(found, getLabelName(config, found.label), part, explain)));
  }, why);
  text.addEventListener("input", ask);
  const samples = (config.examples ?? []).map((sample) => {
    const use = () => {
      text.value = sample;
      ask();
    };
    return element("button", { click: use }, sample.length > 40 ? `${sample.slice(0, 40)} …` : sample);
  });
  const many = addBatch("Many texts", { accept: ".csv,.tsv,.txt" }, (files, report) => answerAll(model, files[0], report));
  const button = element("button", { class: "primary", click: () => explain() }, "Explain");
  root.replaceChildren(
    element("div", { class: "columns" }, element("div", {}, element("label", {}, "The text", text), element("div", { class: "row chips" }, button, ...samples)), answer),
    why,
    many,
  );
  if (samples.length) samples[0].click();
}

/** Return a text whose parts are coloured by their contributions; tapping a part explains its words. */
function drawParts(found, label, part, explain) {
  const largest = Math.max(...found.parts.map(({ contribution }) => Math.abs(contribution ?? 0)), 1e-9);
  const parts = found.parts.map(({ text, contribution }, index) => {
    if (contribution === null) return text;
    const shade = Math.round((60 * Math.abs(contribution)) / largest);
    const button = element("button", { title: `${(100 * contribution).toFixed(1)} points`, click: () => explain(part === null ? index : null) }, text);
    button.style.background = `color-mix(in srgb, ${contribution < 0 ? "var(--down)" : "var(--up)"} ${shade}%, transparent)`;
    return button;
  });
  const { base, probability } = found;
  const words = `With none of these parts, ${label} would have ${formatPercent(base)}; with them it has ${formatPercent(probability)}. Green raises it, red lowers it. Tap a part to see its words.`;
  return [element("p", { class: "quiet" }, words), element("p", { class: "parts" }, ...parts)];
}

async function answerAll(model, file, report) {
  const content = await file.text();
  const rows = file.name.endsWith(".txt") ? content.split(/\r?\n/).filter((line) => line.trim()).map((text) => ({ text })) : readCsv(content, ["text"]);
  const describe = ({ label, is_clear: isClear, probabilities }) => {
    return { prediction: label, clear: isClear ? "yes" : "no", ...makeCells("probability", probabilities) };
  };
  const cells = await answerEach(model, rows.map(({ text }) => text), report, describe); // prettier-ignore
  return rows.map((row, index) => ({ ...row, ...cells[index] }));
}
