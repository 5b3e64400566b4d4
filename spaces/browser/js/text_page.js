// The page of a text classifier.

import * as page from "./elements.js";

const { element } = page;

/** Show the page. */
export function show(root, model) {
  const { config } = model;
  const { text, explain, examples, answer, why, batch } = page.fill(root, "text-page");
  const [kept, keep] = page.recallInput((input) => typeof input === "string");
  const predict = page.runOneAtATime((given) => model.call("predict", [given]));
  const ask = page.runLatest(answer, async () => {
    keep(text.value);
    showWhy();
    if (!text.value.trim()) return [element("h2", {}, "Write a text")];
    const found = await predict(text.value);
    const clear = found.is_clear ? page.getLabelName(config, found.label) : "Not sure: no answer is likely enough.";
    const headline = found.in_distribution ? clear : "This is unlike the texts the model was trained on.";
    const note = `The model read ${found.words_read} of ${found.words} words: the beginning and the end.`;
    const parts = [element("h2", {}, headline), page.drawProbabilities(config, found.probabilities)];
    return found.words_read < found.words ? [...parts, page.note(note)] : parts;
  });
  const question = explain.textContent;
  const explainPart = async (part) => {
    model.call("cancel", []).catch(() => {}); // if it fails, the page shows why
    if (part === undefined) return [page.note(`Press “${question}” to see them in colour.`)];
    explain.textContent = "Cancel";
    const progress = element("progress", { value: 0, ariaLabel: "Progress" });
    why.replaceChildren(progress);
    const report = (share) => (progress.value = share);
    const found = await model.call("explain", [text.value, part], report);
    return drawParts(found, page.getLabelName(config, found.label), (index) => showWhy(part === null ? index : null));
  };
  const showWhy = page.runLatest(why, explainPart, () => (explain.textContent = question));
  text.oninput = ask;
  explain.onclick = () => showWhy(why.ariaBusy === "true" ? undefined : null);
  const samples = (config.examples ?? []).map((one) => [one.length > 40 ? `${one.slice(0, 40)} …` : one, one]);
  const use = (sample) => {
    text.value = sample;
    ask();
  };
  page.addExamples(examples, samples, use, kept);
  page.addBatch(batch, model, "Many texts");
}

/** Return a text whose parts are coloured by their contributions; tapping a part explains its words. */
function drawParts({ base, probability, parts }, label, explain) {
  const largest = Math.max(...parts.map(({ contribution }) => Math.abs(contribution)), 1e-9);
  const shown = parts.map(({ text, contribution }, index) => {
    if (contribution === null) return text;
    const title = `${(100 * contribution).toFixed(1)} points`;
    const button = element("button", { title, onclick: () => explain(index) }, text);
    const [colour, shade] = [contribution < 0 ? "--against" : "--for", (55 * Math.abs(contribution)) / largest];
    button.style.background = `color-mix(in srgb, var(${colour}) ${shade}%, transparent)`;
    return button;
  });
  const [without, whole] = [base, probability].map(page.formatPercent);
  const effect = `The coloured words moved “${label}” from ${without} to ${whole}.`;
  const words = `${effect} Purple raises it, red lowers it. Tap a part to see its words.`;
  return [page.note(words), element("p", { className: "parts" }, ...shown)];
}
