// Keep the site and its models on the device: the second visit works without network.

const PREFIX = `gallery ${registration.scope} `; // another site on this host may have caches, too
const CACHE = `${PREFIX}VERSION`; // staging puts the version of the site here,
const FILES = []; // and all its files but the models here

async function keep(files) {
  const cache = await caches.open(CACHE);
  const add = async (file) => (await cache.match(file)) ?? cache.add(new Request(file, { cache: "no-cache" }));
  await Promise.all(files.map(add));
}

async function clean() {
  const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await clients.claim();
}

/** Answer from the cache. A new version takes over between two pages, so that no page gets modules of both. */
async function answer(request) {
  const { waiting } = registration;
  if (waiting && request.mode === "navigate" && (await clients.matchAll()).length < 2) {
    waiting.postMessage("start");
    return new Response("<script>location.reload()</script>", { headers: { "Content-Type": "text/html" } });
  }
  return (await caches.match(request, { cacheName: CACHE, ignoreSearch: true })) ?? fetch(request);
}

addEventListener("install", (event) => event.waitUntil(keep(FILES)));
addEventListener("activate", (event) => event.waitUntil(clean()));
// The page names the files of a model that it has downloaded and checked.
addEventListener("message", (event) => {
  event.waitUntil(event.data === "start" ? skipWaiting() : keep(event.data));
});
addEventListener("fetch", (event) => {
  const isOwn = event.request.method === "GET" && new URL(event.request.url).origin === location.origin;
  if (isOwn) event.respondWith(answer(event.request));
});
