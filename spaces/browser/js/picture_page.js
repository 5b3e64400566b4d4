// The page of a model for pictures: classification or segmentation.

import {
  addBatch, addPictureButton, answerEach, drawBars, drawFitted, drawProbabilities, element, formatPercent, getLabelName,
  makeCells, runLatest, save,
} from "./elements.js"; // prettier-ignore

const LONGEST = 640; // pixels of a picture on the page

/** Show the page. */
export function show(root, model, entry) {
  const answer = element("div", { class: "box", "aria-live": "polite" }, element("h2", {}, "Choose a picture"));
  const canvas = element("canvas", { hidden: true, role: "img", "aria-label": "The picture" });
  const draw = model.config.task === "image-segmentation" ? showClasses : showLabel;
  const ask = runLatest(async (blob) => {
    const shown = drawPicture(canvas, blob);
    const found = await model.call("predict", blob);
    await shown;
    return () => draw(model.config, found, canvas, answer);
  }, answer);
  const use = ({ target }) => {
    if (target.files[0]) ask(target.files[0]);
    target.value = "";
  };
  const drop = element(
    "div",
    { class: "drop" },
    element("div", { class: "row" }, addPictureButton("Choose a picture", { change: use }, true), addPictureButton("Take a photo", { change: use, capture: "environment" })),
    element("p", { class: "quiet" }, "or drop or paste one here"),
    canvas,
  );
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) ask(event.dataTransfer.files[0]);
  });
  document.onpaste = (event) => event.clipboardData.files[0] && ask(event.clipboardData.files[0]);
  const samples = (entry.examples ?? []).map(({ file, name }) => {
    const url = new URL(file, document.baseURI);
    return element("button", { click: async () => ask(await (await fetch(url)).blob()) }, name);
  });
  const many = addBatch("Many pictures", { accept: "image/*", multiple: true }, (files, report) => answerAll(model, files, report));
  root.replaceChildren(
    element("div", { class: "columns" }, element("div", {}, drop, element("div", { class: "row chips" }, ...samples)), answer),
    many,
  );
  if (samples.length) samples[0].click();
}

/** Draw a picture on a canvas, at most LONGEST pixels long. */
async function drawPicture(canvas, blob) {
  const bitmap = await createImageBitmap(blob).catch(() => null);
  canvas.hidden = !bitmap;
  if (!bitmap) return;
  drawFitted(canvas, bitmap, LONGEST);
  canvas.original?.close();
  canvas.original = bitmap;
}

/** Draw colours over the picture. `colour(x, y)` returns red, green, blue and opacity for a place in `size`. */
function overlay(canvas, { width, height }, colour, smooth, region = [0, 0, 1, 1]) {
  const pixels = new ImageData(width, height);
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) pixels.data.set(colour(x, y), 4 * (y * width + x));
  const layer = new OffscreenCanvas(width, height);
  layer.getContext("2d").putImageData(pixels, 0, 0);
  const context = canvas.getContext("2d");
  context.drawImage(canvas.original, 0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = smooth;
  const [left, top, right, bottom] = region.map((edge, index) => edge * (index % 2 ? canvas.height : canvas.width));
  context.drawImage(layer, left, top, right - left, bottom - top);
}

function showLabel(config, found, canvas, answer) {
  const names = config.labels.map((label) => getLabelName(config, label));
  const choice = names.length <= 5 ? `${names.slice(0, -1).join(", ")} or ${names.at(-1)}` : `any of the ${names.length} labels`;
  const none = names.length === 2 ? "Neither" : "None of them";
  const headline = found.in_distribution ? `It is ${getLabelName(config, found.likeliest)}.` : `${none}: this does not look like ${choice}.`;
  const parts = [element("h2", {}, headline)];
  if (!found.in_distribution) parts.push(element("p", {}, "If it does show one:"));
  parts.push(drawProbabilities(config, found.probabilities, 8));
  if (found.map) {
    const words = `Orange areas are evidence for ${found.likeliest}, blue areas against it.`;
    const draw = ({ target }) => drawEvidence(canvas, found, target.checked);
    const box = element("input", { type: "checkbox", change: draw });
    box.style.width = "auto";
    parts.push(element("label", {}, box, " Show the evidence"), element("p", { class: "quiet" }, words));
  }
  answer.replaceChildren(...parts);
}

function drawEvidence(canvas, { map, region }, isShown) {
  const largest = Math.max(...map.flat().map(Math.abs), 1e-9);
  const colour = (x, y) => [...(map[y][x] > 0 ? [255, 140, 0] : [30, 90, 255]), 190 * Math.abs(map[y][x] / largest) * isShown];
  overlay(canvas, { width: map[0].length, height: map.length }, colour, true, region);
}

function showClasses(config, found, canvas, answer) {
  const { labels, colours } = config;
  const { mask, confidence, width, shares } = found;
  let only = null; // the class that is shown alone
  let isUnsure = false;
  const draw = () => {
    const colour = (x, y) => {
      const place = y * width + x;
      if (isUnsure) return [255, 140, 0, Math.min(255, 2 * (255 - confidence[place]))];
      return [...colours[mask[place]], only === null || only === mask[place] ? 153 : 0];
    };
    overlay(canvas, found, colour, false);
  };
  const present = labels.filter((label) => shares[label]).sort((a, b) => shares[b] - shares[a]);
  const rgb = (label) => `rgb(${colours[labels.indexOf(label)].join(" ")})`;
  const legend = present.map((label) => {
    const swatch = element("i");
    swatch.style.background = rgb(label);
    const index = labels.indexOf(label);
    const toggle = () => {
      [only, isUnsure] = [only === index ? null : index, false];
      draw();
    };
    return element("button", { click: toggle }, swatch, label);
  });
  const doubt = () => {
    isUnsure = !isUnsure;
    draw();
  };
  const keep = async () => {
    const picture = await maskAsPicture(found, colours);
    save("mask.png", picture, "image/png");
  };
  answer.replaceChildren(
    element("h2", {}, "What fills the picture"),
    drawBars(present.map((label) => [label, shares[label], rgb(label)])),
    element("p", { class: "quiet" }, "Tap a class to see it alone."),
    element("div", { class: "legend" }, ...legend),
    element("p", {}, `The model expects ${formatPercent(found.mean_confidence)} of the pixels to be right.`),
    element("div", { class: "row" }, element("button", { click: doubt }, "Where it is unsure"), element("button", { click: keep }, "Download the mask")),
  );
  draw();
}

async function maskAsPicture({ mask, width, height }, colours) {
  const canvas = new OffscreenCanvas(width, height);
  const pixels = new ImageData(width, height);
  mask.forEach((label, place) => pixels.data.set([...colours[label], 255], 4 * place));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

/** Return a row for each file: its name, and the prediction or an error. */
async function answerAll(model, files, report) {
  const describe = ({ label, probabilities, shares }) =>
    shares ? makeCells("share", shares) : { prediction: label ?? "neither", ...makeCells("probability", probabilities) };
  const cells = await answerEach(model, files, report, describe);
  return files.map(({ name }, index) => ({ file: name, ...cells[index] }));
}
