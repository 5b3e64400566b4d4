// The site: a page for each model in site.json. A model is downloaded once, checked, and run in a worker.

import { BadInput, download, downloadJson, readConfig } from "./checkpoint.js";
import { describeError, drawTable, element, fill, focusOn, formatPercent, note, runLatest } from "./elements.js";
import { Model } from "./model.js";
import { keepSite } from "./offline.js";
import { TASKS } from "./tasks.js";

const [nav, main] = ["nav", "main"].map((id) => document.getElementById(id));
const FIGURES = 3; // shown at once
let site; // the content of site.json
const places = new Map(); // where a page was scrolled to when a link on it was followed, by its address
let visit = new AbortController(); // stops the downloads and the model of the page that is shown

async function showModel(entry, signal) {
  const config = await readConfig(entry, signal);
  const { show } = await import(TASKS[config.task].page).catch(() => {
    throw new BadInput("A part of this page cannot be downloaded; check the connection and reload the page.");
  });
  signal.throwIfAborted();
  const { summary, limits } = config.about;
  const title = entry.title ?? config.about.title;
  document.title = title;
  const page = fill(main, "model-page");
  page.title.textContent = title;
  page.summary.textContent = summary;
  page.limits.append(...limits.map((limit) => element("li", {}, limit)));
  page.headline.textContent = entry.headline ? `Measured: ${entry.headline}.` : "";
  const [head, ...figures] = entry.figures ?? [];
  if (head) page.figures.append(drawTable([head, ...figures.slice(0, FIGURES)]));
  if (figures.length > FIGURES) page.others.append(drawTable([head, ...figures.slice(FIGURES)]));
  else page.more.remove();
  let card;
  page.card.ontoggle = runLatest(page.markdown, async () => {
    card ??= new TextDecoder().decode(await download(`${entry.folder}/README.md`, entry.card ?? {}));
    return [card.replace(/^---\n[^]*?\n---\s*/, "")];
  });
  const started = performance.now();
  const report = (share) => {
    page.progress.value = share;
    page.progress.hidden = share === 1;
    if (share === 1) return void (page.loading.textContent = "Starting the model …");
    const left = ((performance.now() - started) / 1000) * (1 / Math.max(share, 0.01) - 1);
    page.left.textContent = `: ${formatPercent(share)}, about ${Math.ceil(left)} s left`;
  };
  const model = new Model(config, entry, site, report, undefined, signal);
  model.loaded
    .catch((error) => page.page.replaceChildren(describeError(error))) // once, and not where each answer belongs
    .then(() => page.download.remove());
  show(page.page, model, entry);
  if (limits.length) page.page.querySelector("#answer, #best").after(note(limits[0]));
}

function showCards() {
  document.title = site.title;
  const { title, cards } = fill(main, "cards-page");
  title.textContent = site.title;
  for (const { name, title, summary, headline, picture } of site.models) {
    const drawn = picture ? [element("img", { src: picture, alt: "" })] : [];
    const words = [element("h2", {}, title), element("p", {}, summary), note(headline ?? "")];
    cards.append(element("a", { className: "box", href: `#${name}` }, ...drawn, ...words));
  }
}

function showLinks(current) {
  nav.hidden = site.models.length < 2;
  const links = [{ name: "", title: "All models" }, ...site.models];
  const start = location.search ? "./" : ""; // another page than that of a model on the Hub
  // They are made once, since a new link would not have the focus.
  // The link to the page that is shown changes no address, so after an error it tries again.
  const retry = (event) => {
    if (event.target.href !== location.href || !main.querySelector("#main > .error, #page > .error")) return;
    event.preventDefault();
    show();
  };
  if (!nav.children.length)
    nav.append(...links.map(({ name, title }) => element("a", { href: `${start}#${name}`, onclick: retry }, title)));
  [...nav.children].forEach((link, index) => {
    link.removeAttribute("aria-current");
    if (links[index].name !== current) return;
    link.setAttribute("aria-current", "page");
    // Without scrollIntoView, which would also move the page.
    nav.scrollLeft = link.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2;
  });
}

/** Return the model that the address names as ?model=USER/REPO@COMMIT; only a commit cannot change. */
function findOnHub(asked) {
  const found = asked.match(/^([\w][\w.-]*\/[\w][\w.-]*)@([0-9a-f]{40})$/);
  if (!found) throw new BadInput("Name the model as ?model=USER/REPO@COMMIT, with a commit of 40 digits.");
  const policy = document.querySelector("meta[content^=default-src]").content;
  if (!policy.includes(site.hub))
    throw new BadInput(`This page may not reach the Hub; open any.html${location.search} instead.`);
  return { folder: `${site.hub}/${found[1]}/resolve/${found[2]}` };
}

async function show(change) {
  const isNew = !history.state; // otherwise, the visitor goes back or forward
  history.replaceState("seen", "");
  if (change && isNew) places.set(change.oldURL, scrollY);
  visit.abort();
  visit = new AbortController();
  const { signal } = visit;
  try {
    if (!isSecureContext) throw new BadInput("Open the page at an address with https; it cannot check its files here.");
    site ??= await downloadJson("site.json");
    const name = location.hash.slice(1);
    const only = site.models.length === 1 ? site.models[0] : null;
    const asked = new URLSearchParams(location.search).get("model");
    const local = only ?? site.models.find((one) => one.name === name);
    showLinks(asked === null ? (local?.name ?? "") : null);
    const entry = asked === null ? local : findOnHub(asked);
    if (entry) await showModel(entry, signal);
    else showCards();
  } catch (error) {
    const sentence = new BadInput(`This model cannot be shown (${error.message}); export it again.`);
    if (!signal.aborted) main.replaceChildren(describeError(error instanceof BadInput ? error : sentence));
  }
  if (!change || signal.aborted) return;
  scrollTo(0, isNew ? 0 : (places.get(change.newURL) ?? scrollY));
  if (document.activeElement === document.body) focusOn(main.querySelector("h1, .error"));
}

addEventListener("hashchange", show);
await show();
keepSite();
