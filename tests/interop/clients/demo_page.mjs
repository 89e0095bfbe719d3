// Looks at the demo page as a person would: is it live, does it show ten prices, do they and the game world move?
// Usage: demo_page.mjs URL SCREENSHOT. Prints one JSON object; ../checks.py judges it.
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
    received: window.fantailDemo.received,
    prices: Array.from(document.querySelectorAll("#tiles .price"), (price) => price.textContent),
    world: document.getElementById("world").toDataURL(),
  });
  const live = await until(() => document.documentElement.dataset.state === "live");
  const before = look();
  // Forty more of each channel: two seconds of prices.
  await until(() => Object.entries(before.received).every(([channel, n]) => window.fantailDemo.received[channel] >= n + 40));
  const after = look();
  return {
    live,
    prices: after.prices,
    pricesMoved: after.prices.filter((price, index) => price !== before.prices[index]).length,
    worldMoved: after.world !== before.world,
    received: Object.fromEntries(Object.entries(after.received).map(([channel, n]) => [channel, n - before.received[channel]])),
  };
}

await withPage(url, async (page) => {
  await page.evaluate(`${until}; until(() => window.fantailDemo !== undefined)`);
  const seen = await page.evaluate(`(${observe})()`);
  await writeFile(screenshot, await page.screenshot());
  console.log(JSON.stringify(seen));
});
