// Keep the site on the device: the second visit works without network. The pages keep the models (js/checkpoint.js).

const PREFIX = `gallery ${registration.scope} `; // another site on this host may have caches, too
const VERSION = "VERSION"; // staging puts the version of the site here and in its pages,
const FILES = {}; // and all its files but the models here: path → SHA-256, or null for a page
const CACHE = PREFIX + VERSION;
const MODELS = `${PREFIX}models`;
const PATIENCE = 500; // milliseconds to wait for a page's answer
// What is shown until the new version has taken over. If it takes longer than a second, the old one is asked again.
const HANDOVER = `<script>
  navigator.serviceWorker.onmessage = ({ ports }) => ports[0].postMessage("yes");
  navigator.serviceWorker.oncontrollerchange = () => location.reload();
  setTimeout(() => location.reload(), 1000);
</script>`;

async function keep() {
  const cache = await caches.open(CACHE);
  const add = async (file) => (await cache.match(file)) ?? store(cache, file, await fetch(file, { cache: "no-cache" }));
  await Promise.all(Object.keys(FILES).map(add));
}

/** Keep a file, if it is of this version: a host may send those of two while the site is being published. */
async function store(cache, file, response) {
  const content = await response.arrayBuffer();
  if (!response.ok || !(await isOfThisVersion(content, FILES[file]))) throw new Error(`${file} is of another version.`);
  // A new response, since a browser opens no page from one that was redirected, as where addresses have no ".html".
  await cache.put(file, new Response(content, { headers: response.headers }));
}

async function isOfThisVersion(content, sha256) {
  if (!sha256) return new TextDecoder().decode(content).includes(VERSION); // a host may insert a script into a page
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return sha256 === Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function clean() {
  const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && ![CACHE, MODELS].includes(name));
  await Promise.all(old.map((name) => caches.delete(name)));
  await dropModels();
  await clients.claim();
}

/** Remove the files of models that the site no longer has. A page replaces a file that has changed. */
async function dropModels() {
  const site = await (await caches.match("site.json", { cacheName: CACHE })).json();
  const folders = site.models.map(({ folder }) => new URL(`${folder}/`, registration.scope).href);
  const models = await caches.open(MODELS);
  const old = (await models.keys()).filter(({ url }) => !folders.some((folder) => url.startsWith(folder)));
  await Promise.all(old.map((key) => models.delete(key)));
}

/** Return true unless a page says that it is being left. */
function isOpen(client) {
  const { port1, port2 } = new MessageChannel();
  client.postMessage("Are you being left?", [port2]);
  return new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(!data);
    setTimeout(() => resolve(true), PATIENCE);
  });
}

/** Answer from the cache. A new version takes over when no page of the old one stays, so that none gets files of both. */
async function answer(event) {
  const { request } = event;
  const { waiting } = registration;
  if (waiting && request.mode === "navigate") {
    const open = await Promise.all((await clients.matchAll()).map(isOpen));
    if (!open.includes(true)) {
      waiting.postMessage("start");
      return new Response(HANDOVER, { headers: { "Content-Type": "text/html" } });
    }
  }
  const found = await caches.match(request, { cacheName: CACHE, ignoreSearch: true });
  return found ?? fetchMissing(event);
}

/** Fetch a file; one of the site was damaged and removed by a page, so it is kept again. */
async function fetchMissing(event) {
  const { request } = event;
  const response = await fetch(request);
  const file = Object.keys(FILES).find((one) => new URL(one, registration.scope).href === request.url);
  if (file) {
    const copy = response.clone();
    const put = async () => store(await caches.open(CACHE), file, copy);
    event.waitUntil(put().catch(() => {})); // the storage may be full; the page checks a file of another version
  }
  return response;
}

addEventListener("install", (event) => event.waitUntil(keep()));
addEventListener("activate", (event) => event.waitUntil(clean()));
addEventListener("message", (event) => event.waitUntil(skipWaiting()));
addEventListener("fetch", (event) => {
  const isOwn = event.request.method === "GET" && new URL(event.request.url).origin === location.origin;
  if (isOwn) event.respondWith(answer(event));
});
