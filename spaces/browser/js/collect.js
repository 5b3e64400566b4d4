// Collect labelled pictures, and save them as a zip for training: a folder for each label. Nothing leaves the browser.

import { addPictureButton, drawFitted, element, save } from "./elements.js";
import { makeZip } from "./zip.js";

const LONGEST = 1024; // pixels of a stored picture

const pictures = new Map(); // label → [{blob, url}]
const [name, labels, list, status] = [
  element("input", { placeholder: "a new label, such as daisy", "aria-label": "A new label" }),
  element("select", { "aria-label": "Label of the next pictures" }),
  element("div"),
  element("p", { class: "quiet", role: "status" }, "Add a label first."),
];

function addLabel(event) {
  event.preventDefault();
  const label = name.value.trim();
  if (!label || /[/\\:*?"<>|]/.test(label) || label.startsWith(".")) {
    status.textContent = 'A label is a word or two, without / \\ : * ? " < > | and not beginning with a dot.';
    return;
  }
  if (!pictures.has(label)) pictures.set(label, []);
  labels.replaceChildren(...[...pictures.keys()].map((one) => element("option", { selected: one === label }, one)));
  name.value = "";
  show();
}

/** Add pictures as JPEG, at most LONGEST pixels long, without their metadata such as the place. */
async function addPictures({ target }) {
  const label = labels.value;
  if (!label) return void (status.textContent = "Add a label first.");
  const bad = [];
  for (const file of [...target.files]) {
    const bitmap = await createImageBitmap(file).catch(() => bad.push(file.name) && null);
    if (!bitmap) continue;
    const canvas = new OffscreenCanvas(1, 1);
    drawFitted(canvas, bitmap, LONGEST);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
    pictures.get(label).push({ blob, url: URL.createObjectURL(blob) });
  }
  target.value = "";
  show();
  if (bad.length) status.textContent += ` These files cannot be read as pictures: ${bad.join(", ")}.`;
}

function show() {
  const boxes = [...pictures].map(([label, found]) => {
    const thumbnails = found.map(({ url }, index) => {
      const drop = () => {
        URL.revokeObjectURL(url);
        found.splice(index, 1);
        show();
      };
      return element("button", { class: "thumbnail", click: drop, title: "Delete" }, element("img", { src: url, alt: `${label}, picture ${index + 1}: delete` }));
    });
    return element("div", { class: "box" }, element("h2", {}, `${label}: ${found.length}`), element("div", { class: "row" }, ...thumbnails));
  });
  list.replaceChildren(...boxes);
  const few = [...pictures].filter(([, found]) => found.length < 10).map(([label]) => label);
  status.textContent = pictures.size < 2 ? "At least two labels are needed." : few.length ? `At least ten pictures are needed of each label; there are fewer of ${few.join(", ")}.` : "Tap a picture to delete it.";
}

async function download() {
  const files = [...pictures].flatMap(([label, found]) => found.map(({ blob }, index) => [`${label}/${index + 1}.jpg`, blob]));
  if (!files.length) return void (status.textContent = "There are no pictures yet.");
  const contents = await Promise.all(files.map(async ([path, blob]) => [path, new Uint8Array(await blob.arrayBuffer())]));
  save("pictures.zip", makeZip(contents), "application/zip");
}

document.title = "Collect pictures";
document.getElementById("nav").replaceChildren(element("a", { href: "./" }, "Models"));
document.getElementById("main").replaceChildren(
  element("h1", {}, "Collect pictures to train your own model"),
  element("p", {}, "Add a label, then its pictures. They stay in this browser until you download them as a zip."),
  element("form", { class: "row", submit: addLabel }, name, element("button", { class: "primary" }, "Add the label")),
  element("label", {}, "Label of the next pictures", labels),
  element("div", { class: "row" }, addPictureButton("Choose pictures", { change: addPictures, multiple: true }), addPictureButton("Take a photo", { change: addPictures, capture: "environment" })),
  status,
  list,
  element("button", { class: "primary", click: download }, "Download pictures.zip"),
  element("p", { class: "quiet" }, "Unpack it, then: python -m training.recipes.image_classification --data pictures --quick"),
);
