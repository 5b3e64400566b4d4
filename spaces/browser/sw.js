// Keep the site on the device: the second visit works without network. The pages keep the models (js/checkpoint.js).

const PREFIX = `gallery ${registration.scope} `; // another site on this host may have caches, too
const CACHE = `${PREFIX}VERSION`; // staging puts the version of the site here,
const FILES = []; // and all its files but the models here
const MODELS = `${PREFIX}models`;
const PATIENCE = 500; // milliseconds to wait for a page's answer

async function keep() {
  const cache = await caches.open(CACHE);
  const add = async (file) => (await cache.match(file)) ?? cache.add(new Request(file, { cache: "no-cache" }));
  await Promise.all(FILES.map(add));
}

async function clean() {
  const old = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && ![CACHE, MODELS].includes(name));
  if (old.length) old.push(MODELS); // they may have changed with the site
  await Promise.all(old.map((name) => caches.delete(name)));
  await clients.claim();
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
async function answer(request) {
  const { waiting } = registration;
  if (waiting && request.mode === "navigate") {
    const open = await Promise.all((await clients.matchAll()).map(isOpen));
    if (!open.includes(true)) {
      waiting.postMessage("start");
      return new Response("<script>location.reload()</script>", { headers: { "Content-Type": "text/html" } });
    }
  }
  return (await caches.match(request, { cacheName: CACHE, ignoreSearch: true })) ?? fetch(request);
}

addEventListener("install", (event) => event.waitUntil(keep()));
addEventListener("activate", (event) => event.waitUntil(clean()));
addEventListener("message", (event) => event.waitUntil(skipWaiting()));
addEventListener("fetch", (event) => {
  const isOwn = event.request.method === "GET" && new URL(event.request.url).origin === location.origin;
  if (isOwn) event.respondWith(answer(event.request));
});
