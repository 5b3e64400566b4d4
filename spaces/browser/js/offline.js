// Keep the site on the device with a service worker, and tell it when this page is left; see sw.js.

const LEAVING = 5000; // milliseconds until a page that is still there has not been left after all

let isLeft = false;

/** Start the service worker. */
export function keepSite() {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return;
  addEventListener("beforeunload", () => {
    isLeft = true;
    setTimeout(() => (isLeft = false), LEAVING);
  });
  serviceWorker.addEventListener("message", ({ ports: [port] }) => port.postMessage(isLeft));
  serviceWorker.startMessages();
  serviceWorker.register("sw.js").catch(() => {}); // not in an iframe of another site
}
