// The page of a model for pictures: classification or segmentation.

import { download } from "./checkpoint.js";
import * as page from "./elements.js";
import { range } from "./numbers.js";
import { checkPicture } from "./pictures.js";

const { element } = page;
const ORANGE = [255, 140, 0];
const BLUE = [30, 90, 255];
const SURE = 0.9; // below this probability, the page says "probably"
const [INSIDE, OUTLINE] = [153, 230]; // opacity of a region, and of the line along its edge

/** Show the page. */
export function show(root, model, entry) {
  const { config } = model;
  const { choose, photo, drop, picture, examples, answer, batch } = page.fill(root, "picture-page");
  const draw = config.task === "image-segmentation" ? showClasses : showLabel;
  const showPicture = page.runLatest(picture, async (shown) => [await shown.catch(() => "")]);
  const ask = page.runLatest(answer, async (blob) => {
    const checked = Promise.resolve(blob).then(checkPicture); // the blob of an example is still to come
    const shown = checked.then(loadPicture);
    showPicture(shown);
    const found = await model.call("predict", [await checked]);
    return draw(config, found, (await shown).querySelector("canvas"));
  });
  const use = ([file]) => file && ask(file);
  for (const input of [choose, photo]) {
    input.onchange = () => {
      use(input.files);
      input.value = "";
    };
  }
  const drag = (event) => {
    event.preventDefault();
    drop.classList.toggle("over", event.type === "dragover");
    if (event.type === "drop") use(event.dataTransfer.files);
  };
  Object.assign(drop, { ondragover: drag, ondragleave: drag, ondrop: drag });
  document.onpaste = (event) => use(event.clipboardData.files);
  const samples = (entry.examples ?? []).map(([alt, example]) => {
    const image = element("img", { alt, title: alt });
    const load = () => {
      const blob = download(example.url, example).then((content) => new Blob([content]));
      showBlob(image, blob).catch(() => {}); // the answer to it says why
      return blob;
    };
    let blob = load();
    return [image, () => (blob = blob.catch(load))];
  });
  page.addExamples(examples, samples, (read) => ask(read()));
  page.addBatch(batch, model, "Many pictures", "Any number of pictures.", { accept: "image/*", multiple: true });
}

/** Show the picture in a blob, unless the browser cannot decode it. */
async function showBlob(image, blob) {
  image.src = URL.createObjectURL(await blob);
  await image.decode().catch(() => (image.hidden = true));
  URL.revokeObjectURL(image.src);
}

/** Return a picture below an empty canvas. */
async function loadPicture(blob) {
  const image = element("img", { alt: "The picture" });
  await showBlob(image, blob);
  return element("div", { className: "picture" }, image, element("canvas"));
}

/** Return a colour and an opacity from 0 to 255 as one number, as a canvas stores a pixel. */
const pack = (colour, opacity) => new Uint32Array(Uint8ClampedArray.of(...colour, opacity).buffer)[0];

/** Fill a canvas with `colour(place)`, a packed colour. */
function paint(canvas, { width, height }, colour) {
  Object.assign(canvas, { width, height });
  const pixels = new ImageData(width, height);
  const packed = new Uint32Array(pixels.data.buffer);
  for (let place = 0; place < packed.length; place += 1) packed[place] = colour(place);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** Return the sentence that says what a picture shows. */
export function describe(config, found) {
  if (found.in_distribution) {
    const maybe = found.probabilities[found.likeliest] < SURE ? "probably " : "";
    return `It is ${maybe}${page.getLabelName(config, found.likeliest)}.`;
  }
  const names = config.labels.map((label) => page.getLabelName(config, label));
  const few = names.length === 2 ? `neither ${names.join(" nor ")}` : `none of ${names.join(", ")}`;
  return `It is ${names.length <= 5 ? few : `none of the ${names.length} labels`}.`;
}

function showLabel(config, found, canvas) {
  const parts = [
    element("h2", {}, describe(config, found)),
    found.in_distribution
      ? page.drawProbabilities(config, found.probabilities)
      : element("p", {}, "The picture is unlike those it learned from."),
  ];
  if (!found.evidence) return parts;
  const largest = Math.max(...found.evidence.map(Math.abs), 1e-9);
  paint(canvas, found, (place) => {
    const value = found.evidence[place] / largest;
    return pack(value > 0 ? ORANGE : BLUE, 190 * Math.abs(value));
  });
  const [left, top, right, bottom] = found.region;
  const place = { left, top, width: right - left, height: bottom - top };
  for (const [name, share] of Object.entries(place)) canvas.style[name] = `${100 * share}%`;
  canvas.hidden = true;
  const words = page.note(
    `Orange areas point to ${page.getLabelName(config, found.likeliest)}, blue areas against it.`,
  );
  words.hidden = true;
  const show = () => (canvas.hidden = words.hidden = !box.checked);
  const box = element("input", { type: "checkbox", onchange: show });
  return [...parts, element("label", {}, box, " Show what it looked at"), words];
}

/** Return 1 for each pixel that is near one of another class, and 0 elsewhere; see find_outlines in Python. */
function findOutlines({ mask, width, height }) {
  const outlines = new Uint8Array(mask.length);
  const mark = (place, other) => {
    if (mask[place] !== mask[other]) outlines[place] = outlines[other] = 1;
  };
  for (let distance = Math.max(1, Math.round(Math.max(width, height) / 640)); distance > 0; distance -= 1) {
    for (let place = 0; place < mask.length; place += 1) {
      if ((place % width) + distance < width) mark(place, place + distance);
      if (place + distance * width < mask.length) mark(place, place + distance * width);
    }
  }
  return outlines;
}

function showClasses(config, found, canvas) {
  const { labels, colours } = config;
  const { mask, confidence, shares } = found;
  const outlines = findOutlines(found);
  const UNSURE = -1;
  let only = null; // a class that is shown alone, or UNSURE
  const buttons = new Map(); // by what they show
  const addButton = (choice, text) => {
    buttons.set(choice, element("button", { onclick: () => draw(choice) }, text));
    return buttons.get(choice);
  };
  const draw = (choice) => {
    only = choice === only ? null : choice;
    for (const [shown, button] of buttons) button.ariaPressed = String(shown === only);
    const shades = colours.map((colour, index) => {
      const isShown = only === null || only === index;
      return [INSIDE, OUTLINE].map((opacity) => pack(colour, isShown ? opacity : 0));
    });
    const doubts = range(256).map((level) => pack(ORANGE, 2 * level));
    const isDoubt = only === UNSURE;
    paint(canvas, found, (place) => {
      return isDoubt ? doubts[Math.trunc(255 * (1 - confidence[place]))] : shades[mask[place]][outlines[place]];
    });
  };
  const keep = () => {
    const picture = element("canvas");
    const opaque = colours.map((colour) => pack(colour, 255));
    paint(picture, found, (place) => opaque[mask[place]]);
    picture.toBlob((blob) => page.save("mask.png", blob));
  };
  const present = labels.filter((label) => shares[label]).sort((a, b) => shares[b] - shares[a]);
  const rows = present.map((label) => {
    const index = labels.indexOf(label);
    return [addButton(index, page.getLabelName(config, label)), shares[label], `rgb(${colours[index].join(" ")})`];
  });
  const doubt = addButton(UNSURE, "Where it is unsure");
  const download = element("button", { onclick: keep }, "Download the mask");
  draw(null);
  return [
    element("h2", {}, "What fills the picture"),
    page.drawBars(rows),
    page.note("Tap a class to see it alone."),
    element("p", {}, `The model expects ${page.formatPercent(found.mean_confidence)} of the pixels to be right.`),
    element("div", { className: "row" }, doubt, download),
  ];
}
