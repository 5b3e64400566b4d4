// The site: a page for each model in site.json. A model is downloaded once, checked, and run in a worker.

import { download, readConfig } from "./checkpoint.js";
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
  const { about } = config;
  document.title = about.title;
  const progress = element("progress", { max: 1, value: 0, "aria-label": "Downloading the model" });
  const status = element("p", { class: "quiet", role: "status" }, "Downloading the model …");
  const body = element("div");
  const limits = about.limits.map((limit) => element("p", { class: "quiet" }, limit));
  const privacy = element("p", { class: "quiet" }, "The model runs in your browser: what you give it stays on this device.");
  main.replaceChildren(element("h1", {}, about.title), element("p", {}, about.summary), ...limits, privacy, status, progress, body);
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
    () => [progress, status].forEach((one) => one.remove()),
    (error) => {
      progress.remove();
      showError(status, error);
    },
  );
  page.show(body, model, entry);
}

function showCards(site, main) {
  document.title = site.title;
  const cards = site.models.map(({ name, title, summary, headline }) =>
    element(
      "a",
      { class: "box", href: `#${name}` },
      element("h2", {}, title),
      element("p", {}, summary),
      element("p", { class: "quiet" }, headline ?? ""),
    ),
  );
  const words = element("p", {}, "Small models that run in your browser. What you give them stays on this device.");
  main.replaceChildren(element("h1", {}, site.title), words, element("div", { class: "cards" }, ...cards));
}

async function main() {
  const [nav, content] = ["nav", "main"].map((id) => document.getElementById(id));
  try {
    const site = JSON.parse(new TextDecoder().decode(await download(new URL("../site.json", import.meta.url).href, {})));
    for (const entry of site.models) entry.folder = new URL(`../${entry.folder}/`, import.meta.url).href;
    const links = site.models.length > 1 ? [{ name: "", title: "All models" }, ...site.models] : [];
    const show = async () => {
      const name = decodeURIComponent(location.hash.slice(1));
      const entry = site.models.length > 1 ? site.models.find((one) => one.name === name) : site.models[0];
      nav.hidden = !links.length;
      nav.replaceChildren(
        ...links.map((one) =>
          element("a", { href: `#${one.name}`, ...(one.name === (entry?.name ?? "") && { "aria-current": "page" }) }, one.title),
        ),
      );
      if (!entry) return showCards(site, content);
      await showModel(entry, site, content).catch((error) => content.replaceChildren(showError(element("p"), error)));
    };
    addEventListener("hashchange", show);
    await show();
  } catch (error) {
    content.replaceChildren(showError(element("p"), error));
  }
  navigator.serviceWorker?.register("sw.js").catch(() => {}); // not in an iframe of another site
}

main();
