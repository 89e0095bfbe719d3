// Headless Chromium, driven over its own DevTools protocol: one page, opened, evaluated in and photographed.
// Imports Node only: a browser-automation package would bring a pinned browser's worth of assumptions for five commands.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--window-size=1400,1100",
];

/** Opens `url` in a browser of its own, passes the page to `work`, and ends the browser whatever happened. */
export async function withPage(url, work) {
  const profile = await mkdtemp(join(tmpdir(), "fantail-chromium-"));
  // Over a pipe rather than a port: Chromium ends by itself when the pipe closes, so even a killed script leaves none behind.
  const browser = spawn("chromium", [...FLAGS, "--remote-debugging-pipe", `--user-data-dir=${profile}`, "about:blank"], {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
  });
  const ended = new Promise((resolve) => browser.on("exit", resolve));
  try {
    const page = new Page(browser.stdio[3], browser.stdio[4]);
    await Promise.race([page.open(url), ended.then(() => Promise.reject(new Error("chromium ended early")))]);
    return await work(page);
  } finally {
    browser.kill();
    await ended;
    // Chromium's own children may still write for a moment after it.
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

/** One page. Commands and answers are JSON, each ended by a NUL. */
class Page {
  #commands;
  #session;
  #lastId = 0;
  #pending = new Map();

  constructor(commands, answers) {
    this.#commands = commands;
    let partial = "";
    answers.setEncoding("utf8").on("data", (text) => {
      const whole = text.split("\0");
      whole[0] = partial + whole[0];
      partial = whole.pop();
      for (const answer of whole) this.#settle(JSON.parse(answer));
    });
  }

  async open(url) {
    const { targetId } = await this.#send("Target.createTarget", { url: "about:blank" });
    this.#session = (await this.#send("Target.attachToTarget", { targetId, flatten: true })).sessionId;
    await this.#send("Page.navigate", { url });
  }

  /** The value of a JavaScript expression in the page; a promise is awaited. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.#send("Runtime.evaluate", {
      expression, awaitPromise: true, returnByValue: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** A PNG of the window. */
  async screenshot() {
    const { data } = await this.#send("Page.captureScreenshot", { format: "png" });
    return Buffer.from(data, "base64");
  }

  #send(method, params) {
    const id = ++this.#lastId;
    this.#commands.write(`${JSON.stringify({ id, method, params, sessionId: this.#session })}\0`);
    return new Promise((resolve, reject) => this.#pending.set(id, { method, resolve, reject }));
  }

  #settle({ id, result, error }) {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    if (error) pending.reject(new Error(`${pending.method}: ${error.message}`));
    else pending.resolve(result);
  }
}
