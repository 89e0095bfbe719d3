// Looks at the demo page and uses it as a person would: is it live, does what it shows move, does a rate chosen on it take effect,
// does it come back after its own disconnect and after the server's?
// Usage: demo_page.mjs URL SCREENSHOT. Prints two lines of JSON, which ../checks.py judges: what it saw until it is ready for the
// server to be restarted, and what it saw from then on.
import { writeFile } from "node:fs/promises";
import { withPage } from "./chromium.mjs";

const [url, screenshot] = process.argv.slice(2);

/** Runs in the page: waits frame by frame, at most ten seconds. */
async function until(condition) {
  const end = performance.now() + 10_000;
  while (!condition() && performance.now() < end) await new Promise(requestAnimationFrame);
  return condition();
}

/** Runs in the page: what it shows, and how that moves. */
async function observe() {
  const look = () => ({
    received: Object.fromEntries(Object.entries(window.fantailDemo.feeds).map(([channel, feed]) => [channel, feed.meter.total])),
    prices: Array.from(document.querySelectorAll("#tiles .price"), (price) => price.textContent),
    world: document.getElementById("canvas").toDataURL(),
  });
  const live = await until(() => document.documentElement.dataset.state === "live");
  const counted = await until(() => document.getElementById("visitors").textContent !== "–");
  const before = look();
  // Forty more of each key: two seconds of prices.
  const more = { "ticker:demo": 400, "game:world": 40 };
  await until(() => Object.entries(look().received).every(([channel, n]) => n >= before.received[channel] + more[channel]));
  const after = look();
  return {
    live,
    visitors: counted && document.getElementById("visitors").textContent,
    prices: after.prices,
    pricesMoved: after.prices.filter((price, index) => price !== before.prices[index]).length,
    worldMoved: after.world !== before.world,
    received: Object.fromEntries(Object.entries(after.received).map(([channel, n]) => [channel, n - before.received[channel]])),
  };
}

/** Runs in the page: chooses a rate for the prices; what was received and skipped of the next 400 published. */
async function choose(rate) {
  const feed = window.fantailDemo.feeds["ticker:demo"];
  document.querySelector(`input[name="market-rate"][value="${rate}"]`).click();
  const granted = await until(() => feed.rate === rate);
  // What was on its way arrives first.
  const first = feed.meter.total;
  await until(() => feed.meter.total > first + 20);
  const { meter: { total }, skipped } = feed;
  const received = () => feed.meter.total - total;
  await until(() => received() + feed.skipped - skipped >= 400);
  return { granted, received: received(), skipped: feed.skipped - skipped };
}

/** Runs in the page: leaves and comes back by its button. */
async function leaveAndReturn() {
  const { feeds } = window.fantailDemo;
  const state = () => document.documentElement.dataset.state;
  const button = document.getElementById("switch");
  button.click();
  const left = await until(() => state() === "disconnected");
  button.click();
  const returned = await until(() => state() === "live");
  const received = feeds["ticker:demo"].meter.total;
  const goesOn = await until(() => feeds["ticker:demo"].meter.total > received + 20);
  const recovered = Object.values(feeds).every((feed) => feed.missed >= 0);
  return { left, returned, recovered, goesOn, rate: feeds["ticker:demo"].rate };
}

/** Runs in the page: the server drops it, and is back on the same port. */
async function awaitRestart() {
  const { feeds } = window.fantailDemo;
  const state = () => document.documentElement.dataset.state;
  const dropped = await until(() => state() === "reconnecting");
  const returned = await until(() => state() === "live");
  const before = Object.values(feeds).map((feed) => feed.meter.total);
  const goesOn = await until(() => Object.values(feeds).every((feed, index) => feed.meter.total > before[index] + 20));
  return { dropped, returned, goesOn, rate: feeds["ticker:demo"].rate, said: document.getElementById("return").textContent };
}

await withPage(url, async (page) => {
  const run = (what, ...values) => page.evaluate(`(${what})(${values.map((value) => JSON.stringify(value))})`);
  await page.evaluate(`${until}; until(() => window.fantailDemo !== undefined)`);
  const seen = await run(observe);
  await writeFile(screenshot, await page.screenshot());
  const slowed = await run(choose, 4);
  const returned = await run(leaveAndReturn);
  const hastened = await run(choose, 0);
  // The page waits from here on, so that it misses nothing of what follows the line.
  const restarted = run(awaitRestart);
  console.log(JSON.stringify({ ...seen, slowed, returned, hastened }));
  console.log(JSON.stringify(await restarted));
});
