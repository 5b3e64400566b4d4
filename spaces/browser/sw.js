// Keep the site and its models on the device: the second visit works without network.

const CACHE = "gallery-VERSION"; // staging puts the version of the site here,
const FILES = []; // and all its files but the models here

async function keep(files) {
  const cache = await caches.open(CACHE);
  const add = async (file) => (await cache.match(file)) ?? cache.add(new Request(file, { cache: "force-cache" }));
  await Promise.all(files.map(add));
}

async function clean() {
  const old = (await caches.keys()).filter((name) => name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await self.clients.claim();
}

async function answer(request) {
  return (await caches.match(request, { cacheName: CACHE, ignoreSearch: true })) ?? fetch(request);
}

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(keep(FILES));
});
self.addEventListener("activate", (event) => event.waitUntil(clean()));
// The page names the files of a model that it has downloaded and checked.
self.addEventListener("message", (event) => event.waitUntil(keep(event.data)));
self.addEventListener("fetch", (event) => {
  const isOwn = event.request.method === "GET" && new URL(event.request.url).origin === location.origin;
  if (isOwn) event.respondWith(answer(event.request));
});
