// Answers from what offline.js has put into the cache of this version, where the server does not answer.

const NAME = `mnist-edge-${new URL(location).searchParams.get("version")}`;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  event.respondWith(fetch(event.request).catch(() => kept(event.request)));
});

/** From this cache alone: others of this origin are another page's, or another version's. */
async function kept(request) {
  if (!(await caches.has(NAME))) return Response.error();
  const cache = await caches.open(NAME);
  return (await cache.match(request, { ignoreSearch: true })) ?? Response.error();
}
