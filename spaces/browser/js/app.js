// The site: a page for each model in site.json. A model is downloaded once, checked, and run in a worker.

import { BadInput, downloadJson, readConfig } from "./checkpoint.js";
import { describeError, element, fill, formatPercent, note } from "./elements.js";
import { Model } from "./model.js";
import { TASKS } from "./tasks.js";

const [nav, main] = ["nav", "main"].map((id) => document.getElementById(id));
let site; // the content of site.json
let open; // the model on the page

async function showModel(entry) {
  const config = await readConfig(entry);
  const { title, summary, limits } = config.about;
  document.title = title;
  const page = fill(main, "model-page");
  page.title.textContent = title;
  page.summary.textContent = summary;
  page.privacy.prepend(limits[0] ?? "");
  page.limits.append(...limits.map((limit) => element("li", {}, limit)));
  page.headline.textContent = entry.headline ? `Measured: ${entry.headline}.` : "";
  page.card.href = `${entry.folder}/README.md`;
  open?.worker.terminate();
  const started = performance.now();
  const model = new Model(config, entry, site, (share) => {
    page.progress.value = share;
    const left = ((performance.now() - started) / 1000) * (1 / Math.max(share, 0.01) - 1);
    page.status.textContent = `Downloading the model: ${formatPercent(share)}, about ${Math.ceil(left)} s left`;
  });
  open = model;
  model.loaded.then(
    async () => {
      page.download.remove();
      const worker = await navigator.serviceWorker?.ready;
      worker?.active.postMessage(entry.files ?? []); // it keeps them for the next visit
    },
    (error) => page.download.replaceChildren(describeError(error)),
  );
  const { show } = await import(TASKS[config.task].page);
  show(page.page, model, entry);
}

function showCards() {
  document.title = site.title;
  const { title, cards } = fill(main, "cards-page");
  title.textContent = site.title;
  for (const { name, title, summary, headline } of site.models) {
    const words = [element("h2", {}, title), element("p", {}, summary), note(headline ?? "")];
    cards.append(element("a", { className: "box", href: `#${name}` }, ...words));
  }
}

function showLinks(current) {
  const links = [{ name: "", title: "All models" }, ...site.models].map(({ name, title }) =>
    element("a", { href: `#${name}`, ariaCurrent: name === current ? "page" : null }, title),
  );
  nav.hidden = site.models.length < 2;
  nav.replaceChildren(...links);
}

/** Return the model that the address names as ?model=USER/REPO@COMMIT; only a commit cannot change. */
function findOnHub() {
  const asked = new URLSearchParams(location.search).get("model");
  if (asked === null) return null;
  const found = asked.match(/^([\w][\w.-]*\/[\w][\w.-]*)@([0-9a-f]{40})$/);
  if (!found) throw new BadInput("Name the model as ?model=USER/REPO@COMMIT, with a commit of 40 digits.");
  return { folder: `${site.hub}/${found[1]}/resolve/${found[2]}` };
}

async function show() {
  site ??= await downloadJson("site.json");
  const name = decodeURIComponent(location.hash.slice(1));
  const only = site.models.length === 1 ? site.models[0] : null;
  const entry = findOnHub() ?? only ?? site.models.find((one) => one.name === name);
  showLinks(entry?.name ?? "");
  if (entry) await showModel(entry);
  else showCards();
}

const showOrFail = () => show().catch((error) => main.replaceChildren(describeError(error)));
addEventListener("hashchange", showOrFail);
await showOrFail();
navigator.serviceWorker?.register("sw.js").catch(() => {}); // not in an iframe of another site
