// Collect labelled pictures, and save them as a zip for training: a folder for each label. Nothing leaves the browser.

import { downloadZip } from "../vendor/client-zip/index.js";
import { element, fill, focusNext, save } from "./elements.js";
import { keepSite } from "./offline.js";
import { decode } from "./pictures.js";
import { normaliseName } from "./tables.js";

const LONGEST = 1024; // pixels of a stored picture
const FEW = 10; // pictures of a label

const pictures = new Map(); // label → [{blob, url}]
let isSaved = true;
const { form, name, label, choose, photo, status, list, download } = fill(
  document.getElementById("main"),
  "collect-page",
);

function addLabel(event) {
  event.preventDefault();
  const added = name.value.trim().replace(/\s+/g, " "); // as the list of labels shows it
  if (!added || /[/\\:*?"<>|]|^\.|\.$/.test(added)) {
    status.textContent = 'A label is a word or two, without / \\ : * ? " < > | or a dot at either end.';
    return;
  }
  // Many computers would unpack the folders "daisy" and "Daisy" into one.
  const chosen = [...pictures.keys()].find((one) => normaliseName(one) === normaliseName(added)) ?? added;
  if (!pictures.has(chosen)) pictures.set(chosen, []);
  label.replaceChildren(...[...pictures.keys()].map((one) => element("option", { selected: one === chosen }, one)));
  name.value = "";
  show();
}

/** Return a picture as JPEG, at most LONGEST pixels long, over white, without its metadata such as the place. */
async function convert(file) {
  const bitmap = await decode(file);
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  Object.assign(context, { fillStyle: "white", imageSmoothingQuality: "high" });
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close(); // or the photos of a phone fill its memory
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

async function addPictures({ target }) {
  const found = pictures.get(label.value);
  if (!found) return void (status.textContent = "Add a label first.");
  const bad = [];
  for (const file of [...target.files]) {
    status.textContent = `Reading ${file.name} …`;
    const blob = await convert(file).catch(({ message }) => void bad.push(`${file.name}: ${message}`));
    if (!blob) continue;
    found.push({ blob, url: URL.createObjectURL(blob) });
    isSaved = false;
  }
  target.value = "";
  show();
  if (bad.length) status.textContent += ` Left out: ${bad.join(" ")}`;
}

function show() {
  const boxes = [...pictures].map(([label, found], place) => {
    const thumbnails = found.map(({ url }, index) => {
      const drop = () => {
        URL.revokeObjectURL(url);
        found.splice(index, 1);
        show();
        focusNext(list.children[place], index);
      };
      const picture = element("img", { src: url, alt: `${label}, picture ${index + 1}: delete` });
      return element("button", { onclick: drop, title: "Delete" }, picture);
    });
    const row = element("div", { className: "row" }, ...thumbnails);
    return element("div", { className: "box" }, element("h2", {}, `${label}: ${found.length}`), row);
  });
  list.replaceChildren(...boxes);
  const few = [...pictures.keys()].filter((label) => pictures.get(label).length < FEW);
  status.textContent = "Tap a picture to delete it.";
  if (few.length)
    status.textContent = `At least ten pictures are needed of each label; there are fewer of ${few.join(", ")}.`;
  if (pictures.size < 2) status.textContent = "At least two labels are needed.";
}

async function saveAll() {
  const files = [...pictures].flatMap(([label, found]) =>
    found.map(({ blob }, index) => ({ name: `${label}/${index + 1}.jpg`, input: blob })),
  );
  if (!files.length) return void (status.textContent = "There are no pictures yet.");
  save("pictures.zip", await downloadZip(files).blob());
  isSaved = true;
}

document.title = "Collect pictures";
document.getElementById("nav").replaceChildren(element("a", { href: "./" }, "Models"));
form.onsubmit = addLabel;
choose.onchange = photo.onchange = addPictures;
download.onclick = saveAll;
addEventListener("beforeunload", (event) => isSaved || event.preventDefault());
keepSite();
