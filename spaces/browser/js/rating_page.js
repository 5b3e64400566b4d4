// The page of a recommender: rate items, see recommendations, similar items, and a user's predicted rating.

import * as page from "./elements.js";

const { element } = page;
const KNOWN = 300; // items in the list that a field offers

/** Show the page. */
export function show(root, model) {
  const { lowest, highest, users, step = 0.5, unit = "stars", item = ["movie", "movies"] } = model.config;
  const [one, many] = item;
  const parts = page.fill(root, "rating-page");
  const { pick, stars, output, rated, best, like, similar, user, movie, rating, known } = parts;
  for (const place of root.querySelectorAll(".one")) place.textContent = one;
  for (const place of root.querySelectorAll(".many")) place.textContent = many;
  parts.unit.textContent = unit;

  const find = async (input) => {
    const typed = input.value;
    const [id, title] = await model.call("find", [typed]);
    if (input.value === typed) input.value = title; // else a new one is being typed
    return [id, title];
  };
  const [kept, keep] = page.recallInput(isRatings);
  const ratings = new Map(kept); // id → [title, rating]
  const recommend = page.runLatest(best, async () => {
    const given = [...ratings].map(([id, [, value]]) => [id, value]); // the newest last
    const asked = [given, given.slice(0, -1)].map((some) => model.call("recommend", [some]));
    return [list(...(await Promise.all(asked)))];
  });
  const showRated = () => {
    keep([...ratings]);
    recommend();
    const own = [...ratings].map(([id, [title, value]], index) => {
      const drop = () => {
        ratings.delete(id);
        showRated();
        page.focusNext(rated.parentElement, index);
      };
      const button = element("button", { onclick: drop, ariaLabel: `Remove ${title}` }, "Remove");
      return element("li", {}, `${title}: ${value} `, button);
    });
    rated.replaceChildren(...(own.length ? [element("h2", {}, "Your ratings"), element("ol", {}, ...own)] : []));
  };
  const add = page.runLatest(parts.said, async () => {
    const value = Number(stars.value); // before it changes for the next one
    const [id, title] = await find(pick);
    ratings.delete(id);
    ratings.set(id, [title, value]);
    if (pick.value === title) pick.value = "";
    showRated();
    return [];
  });
  page.onSubmit(parts.add, add);
  const value = lowest + Math.round((0.8 * (highest - lowest)) / step) * step;
  Object.assign(stars, { min: lowest, max: highest, step, value });
  stars.oninput = () => (output.textContent = stars.value);
  stars.oninput();
  showRated();

  const findSimilar = page.runLatest(similar, async () => {
    const [id] = await find(like);
    return [list(await model.call("similar", [id]))];
  });
  page.onSubmit(parts.near, findSimilar);

  const typical = users[Math.min(14, users.length - 1)];
  user.value = typical;
  if (users.every((id) => /^\d+$/.test(id))) user.inputMode = "numeric";
  const predict = page.runLatest(rating, async () => {
    const id = user.value.trim();
    if (!id) throw new Error(`Write the id of a user, such as ${typical}.`);
    const [chosen, title] = await find(movie);
    const pair = [id, chosen];
    const found = await model.call("predict", pair);
    const { base, contributions } = await model.call("explain", pair);
    const next = await model.call("recommend", [id]);
    return [
      element("h2", {}, `${found.rating.toFixed(2)} ${unit === "stars" ? "★" : unit}`),
      element("p", {}, `User ${id} on ${title}.`),
      element("p", {}, `Start at ${base.toFixed(2)} ${unit}, the average, then add:`),
      page.drawBars(Object.entries(contributions), (part) => part.toFixed(2), true),
      element("h2", {}, "For this user"),
      list(next),
    ];
  });
  page.onSubmit(parts.predict, predict);
  parts.predict.oninput = () => rating.replaceChildren(); // it was about another pair
  parts.predict.hidden = !users.length;

  const title = users.length ? `Many users and ${many}` : `Many ${many}`;
  const columns = `${users.length ? "columns user_id and" : "column"} ${model.config.files["items.csv"] ? "item_id" : "movie_id"}`;
  page.addBatch(parts.batch, model, title, `A CSV with the ${columns}; titles may stand in place of ids.`);
  const offer = (titles) => known.append(...titles.map((title) => element("option", { value: title })));
  model.call("listKnown", [KNOWN]).then(offer, () => {}); // if it fails, the page shows why
}

const isRatings = (input) => input.every(([id, [title, value]]) => id && title && Number.isFinite(value));

/** Return a list of [id, title, score], marked by how many places each rose or fell since the list `before`. */
function list(rows, before = rows) {
  const line = ([id, title, score], place) => {
    const old = before.findIndex(([other]) => other === id);
    const moved = old > place ? `▲${old - place} ` : old < place ? `▼${place - old} ` : "";
    const mark = old < 0 ? "· new " : moved;
    return element("li", {}, `${title} ${mark}`, element("span", { className: "quiet" }, score.toFixed(2)));
  };
  return element("ol", {}, ...rows.map(line));
}
