// Keeps everything that files.json lists, so that the page opens without its server.

const OURS = "mnist-edge-"; // other pages of this origin have caches, too

/** Say what came of it: "ready", or why it cannot be. A cache is whole or gone, and one version's. */
export async function keep({ version, offline }) {
  if (!("serviceWorker" in navigator)) return "Offline use needs localhost or https.";
  await navigator.serviceWorker.register("sw.js");
  await navigator.serviceWorker.ready;
  const name = OURS + version;
  if (!(await caches.has(name))) {
    const cache = await caches.open(name);
    try {
      await cache.addAll(offline.map((path) => `./${path}`));
    } catch (error) {
      await caches.delete(name);
      throw error;
    }
  }
  for (const other of await caches.keys()) {
    if (other.startsWith(OURS) && other !== name) await caches.delete(other);
  }
  return "Ready to work offline.";
}
