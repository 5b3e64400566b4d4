// Keep the site and its models on the device: the second visit works without network.

const CACHE = "gallery-VERSION"; // staging puts the version of the site here,
const FILES = []; // and all its files but the models here

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(keep(FILES.map((file) => new URL(file, location).href)));
});

self.addEventListener("activate", (event) => {
  const clean = caches.keys().then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))));
  event.waitUntil(clean.then(() => self.clients.claim()));
});

// The page names the files of a model that it has downloaded and checked.
self.addEventListener("message", (event) => event.waitUntil(keep(event.data)));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== location.origin) return;
  event.respondWith(caches.match(request, { cacheName: CACHE, ignoreSearch: true }).then((kept) => kept ?? fetch(request)));
});

async function keep(urls) {
  const cache = await caches.open(CACHE);
  const own = urls.filter((url) => new URL(url).origin === location.origin);
  await Promise.all(own.map(async (url) => (await cache.match(url)) ?? cache.add(new Request(url, { cache: "force-cache" }))));
}
