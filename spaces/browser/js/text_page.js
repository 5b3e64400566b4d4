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
  const explainPart = async (part, tapped) => {
    model.call("cancel", []).catch(() => {}); // if it fails, the page shows why
    if (part === undefined) return [hush(page.note(`Press “${question}” to see them in colour.`))];
    explain.textContent = "Cancel";
    const progress = element("progress", { value: 0, ariaLabel: "Progress" });
    const isInside = why.contains(document.activeElement);
    why.replaceChildren(progress);
    if (isInside) page.focusOn(why); // the part that was pressed is gone
    const report = (share) => (progress.value = share);
    const found = await model.call("explain", [text.value, part], report);
    const label = page.getLabelName(config, found.label);
    const effect = describeEffect(found, label, tapped);
    const hasWords = found.parts.some((one) => one.contribution !== null && /\S\s+\S/.test(one.text));
    const closer = hasWords ? " Tap a part to see its words." : "";
    const next = part === null ? closer : " Tap a word to see all parts again.";
    const explainTapped = (index) => showWhy(part === null ? index : null, found.parts[index]);
    return [page.note(`${effect} Purple raises it, red lowers it.${next}`), hush(drawParts(found, explainTapped))];
  };
  const showWhy = page.runLatest(why, explainPart, () => (explain.textContent = question));
  text.oninput = ask;
  explain.onclick = () => showWhy(why.ariaBusy === "true" ? undefined : null);
  const samples = (config.examples ?? []).map((one) => [shorten(one), one]);
  const use = (sample) => {
    text.value = sample;
    ask();
  };
  page.addExamples(examples, samples, use, kept);
  page.addBatch(batch, model, "Many texts", "A CSV with the column text, or a text file with one text per line.");
}

const shorten = (text) => (text.length > 40 ? `${text.slice(0, 40)} …` : text);

/** Let screen readers not read a part of a box of which they read the changes. */
const hush = (part) => Object.assign(part, { ariaLive: "off" });

const formatPoints = (contribution) => `${(100 * Math.abs(contribution)).toFixed(1)} points`;

/** Return what the words of an explanation did, and the part that was tapped to see it, if any. */
function describeEffect({ base, probability }, label, tapped) {
  const [without, whole] = [base, probability].map(page.formatPercent);
  const effect = `The coloured words moved “${label}” from ${without} to ${whole}.`;
  if (!tapped) return effect;
  const { text, contribution } = tapped;
  const verb = contribution < 0 ? "lowers" : "raises";
  return `“${shorten(text.trim())}” ${verb} “${label}” by ${formatPoints(contribution)}. ${effect}`;
}

/** Return a text whose parts are coloured by their contributions, and explained when they are tapped. */
function drawParts({ parts }, explain) {
  const largest = Math.max(...parts.map(({ contribution }) => Math.abs(contribution)), 1e-9);
  const shown = parts.map(({ text, contribution }, index) => {
    if (contribution === null) return text;
    const title = (contribution < 0 ? "−" : "+") + formatPoints(contribution);
    const ariaLabel = `${text.trim()}: ${title}`; // a touch screen shows no title
    const button = element("button", { title, ariaLabel, onclick: () => explain(index) }, text);
    const [colour, shade] = [contribution < 0 ? "--against" : "--for", (55 * Math.abs(contribution)) / largest];
    button.style.background = `color-mix(in srgb, var(${colour}) ${shade}%, transparent)`;
    return button;
  });
  return element("p", { className: "parts", dir: "auto" }, ...shown);
}
