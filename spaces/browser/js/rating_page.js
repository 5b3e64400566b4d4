// The page of a recommender: rate items, see recommendations, similar items, and a user's predicted rating.

import { drawBars, element, runLatest } from "./elements.js";

const KNOWN = 300; // items in the list that a field offers

/** Show the page. */
export function show(root, model) {
  const { lowest, highest } = model.config;
  const ratings = new Map(); // id → [title, rating]
  const [best, rated, like, user] = [1, 2, 3, 4].map(() => element("div"));
  const listed = (rows, format = (value) => value.toFixed(2)) =>
    element("ol", {}, ...rows.map(([, title, value]) => element("li", {}, `${title} `, element("span", { class: "quiet" }, format(value)))));
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
  const stars = element("input", { type: "range", min: lowest, max: highest, step: 0.5, value: Math.round(highest * 0.8), "aria-label": "Your rating" });
  const shown = element("output", {}, stars.value);
  stars.addEventListener("input", () => (shown.textContent = stars.value));
  const picker = addPicker(model, "Something you know");
  const add = async () => {
    const found = await picker.find(rated);
    if (!found) return;
    ratings.delete(found[0]);
    ratings.set(found[0], [found[1], Number(stars.value)]);
    picker.input.value = "";
    recommend();
  };
  const other = addPicker(model, "Similar to");
  const showSimilar = runLatest(async () => {
    const found = await other.find(like);
    const rows = found && (await model.call("similar", found[0]));
    return rows && (() => like.replaceChildren(listed(rows)));
  }, like);
  const who = element("input", { type: "number", value: 15, "aria-label": "User" });
  const what = addPicker(model, "Item");
  const showRating = runLatest(async () => {
    const found = await what.find(user);
    if (!found) return null;
    const { rating } = await model.call("predict", who.value, found[0]);
    const why = await model.call("explain", who.value, found[0]);
    const bars = drawBars(Object.entries(why.contributions), (value) => value.toFixed(2), true);
    const next = await model.call("recommendFor", who.value);
    return () => user.replaceChildren(element("h2", {}, rating.toFixed(2)), element("p", {}, `The average is ${why.base.toFixed(2)}; to that come:`), bars, element("h2", {}, "For this user"), listed(next));
  }, user);
  const visitor = element("div", { class: "box" }, element("h2", {}, "Rate a few"), picker.box, element("label", {}, "Your rating: ", shown, stars), element("button", { class: "primary", click: add }, "Add"), rated);
  const similar = element("div", { class: "box" }, other.box, element("button", { click: showSimilar }, "Find similar"), like);
  const ofUser = element("details", { class: "box" }, element("summary", {}, "A user of the data set"), element("label", {}, "User", who), what.box, element("button", { click: showRating }, "Predict"), user);
  root.replaceChildren(element("div", { class: "columns" }, visitor, element("div", { class: "box" }, best)), element("div", { class: "columns" }, similar, ofUser));
  recommend();
  model.call("describe", KNOWN).then(({ known }) => {
    root.append(element("datalist", { id: "known" }, ...known.map(([, title]) => element("option", { value: title }))));
  }, () => {}); // the page shows why the model is not there
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
