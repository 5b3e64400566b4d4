// The site: a page for each model in site.json. A model is downloaded once, checked, and run in a worker.

import { BadInput, download, readConfig } from "./checkpoint.js";
import { element, formatPercent, showError } from "./elements.js";
import { Model } from "./model.js";

const PAGES = {
  "image-classification": "./picture_page.js",
  "image-segmentation": "./picture_page.js",
  "text-classification": "./text_page.js",
  "tabular-classification": "./table_page.js",
  "tabular-regression": "./table_page.js",
  recommendation: "./rating_page.js",
};

let open; // the model on the page

async function showModel(entry, site, main) {
  const config = await readConfig(entry);
  const { title, summary, limits } = config.about;
  document.title = title;
  const progress = element("progress", { max: 1, value: 0, "aria-label": "Downloading the model" });
  const status = element("p", { class: "quiet", role: "status" }, "Downloading the model …");
  const body = element("div", { class: "page" });
  const about = element(
    "details",
    { class: "box" },
    element("summary", {}, "Limits and figures"),
    element("ul", {}, ...limits.map((limit) => element("li", {}, limit))),
    entry.headline ? element("p", {}, `Measured: ${entry.headline}.`) : "",
    element("p", {}, element("a", { href: new URL("README.md", entry.folder).href }, "The model card"), ", with all figures."),
  );
  const privacy = element("p", { class: "quiet" }, `${limits[0] ?? ""} The model runs in your browser: what you give it stays here.`);
  main.replaceChildren(element("h1", {}, title), element("p", {}, summary), privacy, status, progress, body, about);
  open?.worker.terminate();
  const model = new Model(config);
  open = model;
  const page = await import(PAGES[config.task]);
  const started = performance.now();
  model.loaded = model.load(entry, site, (share) => {
    progress.value = share;
    const left = ((performance.now() - started) / 1000) * (1 / Math.max(share, 0.01) - 1);
    status.textContent = `Downloading the model: ${formatPercent(Math.min(share, 1))}, about ${Math.ceil(left)} s left`;
  });
  model.loaded.then(
    () => {
      [progress, status].forEach((one) => one.remove());
      keepOffline(entry, config);
    },
    (error) => {
      progress.remove();
      showError(status, error);
    },
  );
  page.show(body, model, entry);
}

/** Let the service worker keep the files of a model for the next visit. */
async function keepOffline(entry, config) {
  const names = Object.keys(config.files).filter((name) => !config.files[name].optional);
  const paths = ["gallery.json", ...names.map((name) => (entry.packed?.includes(name) ? `${name}.gz` : name))];
  const worker = (await navigator.serviceWorker?.ready)?.active;
  worker?.postMessage([...paths.map((path) => new URL(path, entry.folder).href), ...(entry.examples ?? []).map(({ file }) => new URL(file, document.baseURI).href)]);
}

function showCards(site, main) {
  document.title = site.title;
  const cards = site.models.map(({ name, title, summary, headline }) => {
    const words = [element("h2", {}, title), element("p", {}, summary), element("p", { class: "quiet" }, headline ?? "")];
    return element("a", { class: "box", href: `#${name}` }, ...words);
  });
  const words = element("p", {}, "Small models that run in your browser: what you give them stays on this device.");
  const collect = element("p", {}, element("a", { href: "collect.html" }, "Collect pictures to train your own"));
  main.replaceChildren(element("h1", {}, site.title), words, element("div", { class: "cards" }, ...cards), collect);
}

/** Return the model that the address names as ?model=USER/REPO@COMMIT; only a commit cannot change. */
function findOnHub(site) {
  const asked = new URLSearchParams(location.search).get("model");
  if (asked === null) return null;
  const found = asked.match(/^([\w][\w.-]*\/[\w][\w.-]*)@([0-9a-f]{40})$/);
  if (!found) throw new BadInput("Name the model as ?model=USER/REPO@COMMIT, with a commit of 40 digits.");
  return { name: found[1], title: found[1], folder: `${site.hub}/${found[1]}/resolve/${found[2]}/` };
}

function showLinks(nav, site, name) {
  const link = (one) => {
    const current = one.name === name ? { "aria-current": "page" } : {};
    return element("a", { href: `#${one.name}`, ...current }, one.title);
  };
  nav.hidden = site.models.length < 2;
  nav.replaceChildren(...[{ name: "", title: "All models" }, ...site.models].map(link));
}

async function main() {
  const [nav, content] = ["nav", "main"].map((id) => document.getElementById(id));
  const guard = (task) => task().catch((error) => content.replaceChildren(showError(element("p"), error)));
  await guard(async () => {
    const site = JSON.parse(new TextDecoder().decode(await download(new URL("../site.json", import.meta.url).href)));
    for (const entry of site.models) entry.folder = new URL(`../${entry.folder}/`, import.meta.url).href;
    const show = async () => {
      const name = decodeURIComponent(location.hash.slice(1));
      const [first, ...others] = site.models;
      const entry = findOnHub(site) ?? (others.length ? site.models.find((one) => one.name === name) : first);
      showLinks(nav, site, entry?.name ?? "");
      if (entry) await showModel(entry, site, content);
      else showCards(site, content);
    };
    addEventListener("hashchange", () => guard(show));
    await show();
  });
  navigator.serviceWorker?.register("sw.js").catch(() => {}); // not in an iframe of another site
}

main();
