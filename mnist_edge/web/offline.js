// Keeps everything that files.json lists, so that the page opens without its server.

/** Say what came of it: "ready", or why it cannot be. A cache is whole or gone, and one version's. */
export async function keep({ version, offline }) {
  if (!("serviceWorker" in navigator)) return "Offline use needs localhost or https.";
  await navigator.serviceWorker.register("sw.js");
  await navigator.serviceWorker.ready;
  if (!(await caches.has(version))) {
    const cache = await caches.open(version);
    try {
      await cache.addAll(offline.map((path) => `./${path}`));
    } catch (error) {
      await caches.delete(version);
      throw error;
    }
  }
  for (const other of await caches.keys()) if (other !== version) await caches.delete(other);
  return "Ready to work offline.";
}
