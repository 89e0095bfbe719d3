// A WebSocket of headless Chromium, opened by the page at the edge port's `/`, so that the origin is the server's own.
// The contract of every client is in ../checks.py.
import { withPage } from "./chromium.mjs";

const [url, last] = process.argv.slice(2);
const page = new URL("/", url.replace(/^ws/, "http")).href;

/** Runs in the page: resolves at `open`; `interop.report` resolves when the socket has closed. */
function connect(url, last) {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const messages = [];
  socket.onmessage = ({ data }) => {
    const bytes = typeof data === "string" ? null : String.fromCharCode(...new Uint8Array(data));
    messages.push(bytes === null ? { text: data } : { b64data: btoa(bytes) });
    if (data === last) socket.close(1000);
  };
  const report = new Promise((resolve) => {
    socket.onclose = ({ code, wasClean }) => {
      resolve({ messages, code, clean: wasClean, deflate: socket.extensions.includes("permessage-deflate") });
    };
  });
  window.interop = { report };
  return Promise.race([new Promise((resolve) => { socket.onopen = () => resolve("open"); }), report.then(JSON.stringify)]);
}

await withPage(page, async (page) => {
  console.log(await page.evaluate(`(${connect})(${JSON.stringify(url)}, ${JSON.stringify(last)})`));
  console.log(JSON.stringify(await page.evaluate("interop.report")));
});
