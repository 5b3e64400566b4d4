// The page of a recommender: rate items, see recommendations, similar items, and a user's predicted rating.

import { addBatch, drawBars, element, runLatest } from "./elements.js";
import { readCsv } from "./tables.js";

const KNOWN = 300; // items in the list that a field offers

/** Show the page. */
export function show(root, model) {
  const { lowest, highest, users, step = 0.5, unit = "stars", item: [one, many] = ["movie", "movies"] } = model.config; // prettier-ignore
  const ratings = new Map(); // id → [title, rating]
  const [best, rated, like, user] = [1, 2, 3, 4].map(() => element("div", { "aria-live": "polite" }));
  const listed = (rows) => {
    const line = ([, title, value]) => element("li", {}, `${title} `, element("span", { class: "quiet" }, value.toFixed(2)));
    return element("ol", {}, ...rows.map(line));
  };
  const recommend = runLatest(async () => {
    const found = await model.call("recommend", [...ratings].map(([id, [, rating]]) => [id, rating]));
    const own = [...ratings].map(([id, [title, rating]]) => {
      const drop = () => {
        ratings.delete(id);
        recommend();
      };
      return element("li", {}, `${title}: ${rating} `, element("button", { click: drop }, "Remove"));
    });
    return () => {
      rated.replaceChildren(...(own.length ? [element("h2", {}, "Your ratings"), element("ol", {}, ...own)] : []));
      best.replaceChildren(element("h2", {}, "You may like"), listed(found));
    };
  }, best);
  const value = lowest + Math.round((0.8 * (highest - lowest)) / step) * step;
  const slider = element("input", { type: "range", min: lowest, max: highest, step, value, "aria-label": "Your rating" });
  const shown = element("output", {}, slider.value);
  slider.addEventListener("input", () => (shown.textContent = slider.value));
  const picker = addPicker(model, `A ${one} you know`);
  const add = async () => {
    const found = await picker.find(rated);
    if (!found) return;
    ratings.delete(found[0]);
    ratings.set(found[0], [found[1], Number(slider.value)]);
    picker.input.value = "";
    recommend();
  };
  const other = addPicker(model, "Similar to");
  const showSimilar = runLatest(async () => {
    const found = await other.find(like);
    const rows = found && (await model.call("similar", found[0]));
    return rows && (() => like.replaceChildren(listed(rows)));
  }, like);
  const visitor = [
    element("h2", {}, `Rate a few ${many}`),
    picker.box,
    element("label", {}, `Your rating in ${unit}: `, shown, slider),
    element("button", { class: "primary", click: add }, "Add"),
    rated,
  ];
  const similar = [other.box, element("button", { click: showSimilar }, "Find similar"), like];
  const boxes = [visitor, [best], similar, ...(users.length ? [addUser(model, one, listed, user)] : [])];
  const places = boxes.map((parts) => element("div", { class: "box" }, ...parts));
  root.replaceChildren(element("div", { class: "columns" }, ...places));
  if (users.length) {
    const batch = (files, report) => answerAll(model, files[0], report);
    root.append(addBatch(`Many users and ${many}`, { accept: ".csv,.tsv,.txt" }, batch));
  }
  recommend();
  const offer = (titles) => root.append(element("datalist", { id: "known" }, ...titles.map((value) => element("option", { value }))));
  model.call("listKnown", KNOWN).then(offer, () => {}); // if it fails, the page shows why
}

/** Return the parts of the box for a user of the data set: the predicted rating, and what adds up to it. */
function addUser(model, one, listed, target) {
  const { users } = model.config;
  const who = element("input", { value: users[Math.min(14, users.length - 1)] });
  const what = addPicker(model, `The ${one}`);
  const showRating = runLatest(async () => {
    const found = await what.find(target);
    if (!found) return null;
    const { rating } = await model.call("predict", who.value, found[0]);
    const why = await model.call("explain", who.value, found[0]);
    const next = await model.call("recommendFor", who.value);
    const bars = drawBars(Object.entries(why.contributions), (value) => value.toFixed(2), true);
    const words = element("p", {}, `The average is ${why.base.toFixed(2)}; to that come:`);
    return () => target.replaceChildren(element("h2", {}, rating.toFixed(2)), words, bars, element("h2", {}, "For this user"), listed(next));
  }, target);
  const title = element("h2", {}, "A user of the data set");
  return [title, element("label", {}, "User", who), what.box, element("button", { click: showRating }, "Predict"), target];
}

async function answerAll(model, file, report) {
  const column = model.config.files["items.csv"] ? "item_id" : "movie_id";
  const rows = readCsv(await file.text(), ["user_id", column]);
  const answers = await model.call("predictEach", rows.map((row) => [row.user_id, row[column]]));
  report(1);
  return rows.map((row, index) => ({ ...row, ...answers[index] }));
}

/** Return a field for an item's title, and a function that returns its [id, title]; an unknown one is an error in `target`. */
function addPicker(model, label) {
  const input = element("input", { list: "known", autocomplete: "off" });
  const find = async (target) => {
    const [found] = await model.call("search", input.value);
    if (!found) target.replaceChildren(element("p", { class: "error", role: "alert" }, "There is no such title; type a part of one, and choose from the list."));
    return found;
  };
  return { input, box: element("label", {}, label, input), find };
}
