// Keeps everything that files.json lists, so that the page opens without its server.

const OURS = "mnist-edge-"; // other pages of this origin have caches, too

/** Say what came of it: "ready", or why it cannot be. A cache is whole or gone, and one version's, as its worker is. */
export async function keep({ version, offline }) {
  if (!("serviceWorker" in navigator)) return "Offline use needs localhost or https.";
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
  await activated(await navigator.serviceWorker.register(`sw.js?version=${version}`));
  for (const other of await caches.keys()) {
    if (other.startsWith(OURS) && other !== name) await caches.delete(other);
  }
  return "Ready to work offline.";
}

/** Wait until the worker that was registered last, and not an earlier version's, is the one that answers. */
function activated({ installing, waiting, active }) {
  const worker = installing ?? waiting ?? active;
  return new Promise((done, failed) => {
    const look = () => {
      if (worker.state === "activated") done();
      if (worker.state === "redundant") failed(new Error("its service worker was replaced"));
    };
    worker.addEventListener("statechange", look);
    look();
  });
}
