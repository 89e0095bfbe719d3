// The demo page: subscribes through the Centrifuge protocol's own SDK and shows what arrives, how often, how old it is, and how
// much the server skipped on our behalf.
//
// What arrives is kept at once; what is shown is drawn once per animation frame. The wire forms are those of
// server/src/demo/feeds.rs. `Centrifuge` comes from centrifuge.js, which is npm's, unchanged.

const SYMBOLS = ["AAPL", "AMD", "AMZN", "AVGO", "GOOGL", "META", "MSFT", "NFLX", "NVDA", "TSLA"];
const WORLD = { width: 1600, height: 900, unitsPerPoint: 32 };

const RATE_WINDOW_MS = 2000;
const LATE_MS = 250;
const STALLED_MS = 1000;
const RETRY_MAX_MS = 5000;
const COUNT_AFTER_MS = 200;

const byId = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const number = new Intl.NumberFormat("en");

const styles = getComputedStyle(document.documentElement);
const COLORS = Object.fromEntries(
  ["up", "down", "tile", "line", "muted", "prices", "frames"].map((name) => [name, styles.getPropertyValue(`--${name}`)]),
);

/** What came in: in all, a second over the last RATE_WINDOW_MS, and how old the newest is. */
class Meter {
  total = 0;
  #entries = [];
  #time = NaN;

  /** Takes what was made at `time`, a Unix time in milliseconds. */
  add(time, amount = 1) {
    this.total += amount;
    this.#entries.push({ at: performance.now(), amount });
    this.#time = time;
    this.#prune();
  }

  get perSecond() {
    this.#prune();
    return (this.#entries.reduce((sum, { amount }) => sum + amount, 0) * 1000) / RATE_WINDOW_MS;
  }

  /** Milliseconds; NaN before anything came. */
  get age() {
    return Date.now() - this.#time;
  }

  #prune() {
    const from = performance.now() - RATE_WINDOW_MS;
    while (this.#entries.length > 0 && this.#entries[0].at < from) this.#entries.shift();
  }
}

const wire = new Meter();

/** The SDK's socket, its text counted; all of it is ASCII. */
class MeteredSocket extends WebSocket {
  constructor(...parameters) {
    super(...parameters);
    this.addEventListener("message", ({ data }) => wire.add(Date.now(), data.length));
  }
}

const endpoint = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/connection/websocket`;
const client = new Centrifuge(endpoint, { websocket: MeteredSocket, maxReconnectDelay: RETRY_MAX_MS });

/** A panel's subscription. `show(data)` keeps an update and returns its time. */
class Feed {
  meter = new Meter();
  /** Updates that the server left out: offsets rise by one for each that was published. */
  skipped = 0;
  /** Updates a second, for each key, that the server granted; 0: all. */
  rate = 0;
  /** Updates published while we were away; NaN where the server does not know, `undefined` before we were. */
  missed = undefined;
  #position = { offset: NaN, epoch: "" };
  #panel;
  #subscription;

  constructor(panel, channel, show) {
    this.#panel = panel;
    this.channel = channel;
    // Recoverable: the SDK remembers our position, and on its return asks for what is newer.
    this.#subscription = client.newSubscription(channel, { recoverable: true, data: this.#wish });
    this.#subscription.on("subscribed", (context) => this.#begin(context));
    this.#subscription.on("publication", ({ data, offset }) => {
      this.meter.add(show(data));
      if (offset <= this.#position.offset) return;
      this.skipped += offset - this.#position.offset - 1;
      this.#position.offset = offset;
    });
    this.#subscription.subscribe();
    panel.querySelector(".rates").addEventListener("change", () => this.#changeRate());
  }

  get live() {
    return this.#subscription.state === "subscribed";
  }

  draw() {
    drawVitals(this.#panel.querySelector(".vitals"), this.meter, this.rate);
    setText(this.#panel.querySelector(".skipped"), number.format(this.skipped));
  }

  #begin({ streamPosition, wasRecovering, recovered, data }) {
    this.rate = data.rate;
    const goesOn = recovered && streamPosition.epoch === this.#position.epoch;
    if (wasRecovering) this.missed = goesOn ? streamPosition.offset - this.#position.offset : NaN;
    if (!goesOn) this.#position = streamPosition;
  }

  get #wish() {
    return { rate: Number(this.#panel.querySelector(".rates :checked").value) || null };
  }

  async #changeRate() {
    const wish = this.#wish;
    this.#subscription.setData(wish);
    try {
      await this.#subscription.ready();
      this.rate = (await client.rpc("sub.rate", { channel: this.channel, ...wish })).data.rate;
    } catch {
      // The connection ended. The next one asks with what was set above.
    }
  }
}

/** A canvas that follows its box and the display's pixel ratio. Sizes are CSS pixels. Draw when `stale`. */
class Surface {
  stale = true;
  width = 0;
  height = 0;

  constructor(canvas) {
    this.context = canvas.getContext("2d");
    new ResizeObserver(([{ contentRect }]) => {
      ({ width: this.width, height: this.height } = contentRect);
      canvas.width = Math.round(this.width * devicePixelRatio);
      canvas.height = Math.round(this.height * devicePixelRatio);
      this.stale = true;
    }).observe(canvas);
  }

  /** The context, cleared, scaled to CSS pixels. */
  begin() {
    this.stale = false;
    this.context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    return this.context;
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Writes rate and age into the `.rate` and `.age` inside `element`. What comes `rate` times a second may be that much older. */
function drawVitals(element, meter, rate) {
  const age = meter.age;
  const extra = rate > 0 ? 1000 / rate : 0;
  setText(element.querySelector(".rate"), `${meter.perSecond.toFixed(1)} /s`);
  setText(element.querySelector(".age"), Number.isNaN(age) ? "–" : `${number.format(age)} ms`);
  element.classList.toggle("late", age >= LATE_MS + extra && age < STALLED_MS + extra);
  element.classList.toggle("stalled", age >= STALLED_MS + extra);
}

/** One stock: `{"s": symbol, "p": price, "d": change since the opening, "t": Unix ms}`. */
class Tile {
  static HISTORY = 160;

  meter = new Meter();
  #prices = [];
  #change = 0;
  #flashed = { price: NaN, until: 0 };

  constructor(symbol) {
    this.element = byId("tile").content.cloneNode(true).firstElementChild;
    this.element.querySelector("h3").textContent = symbol;
    this.vitals = this.element.querySelector(".vitals");
    this.priceText = this.element.querySelector(".price");
    this.amountText = this.element.querySelector(".amount");
    this.percentText = this.element.querySelector(".percent");
    byId("tiles").append(this.element);
    this.surface = new Surface(this.element.querySelector("canvas"));
  }

  keep({ p, d, t }) {
    this.meter.add(t);
    this.#prices.push(p);
    if (this.#prices.length > Tile.HISTORY) this.#prices.shift();
    this.#change = d;
    this.surface.stale = true;
  }

  draw(now, rate) {
    drawVitals(this.vitals, this.meter, rate);
    if (!this.surface.stale || this.#prices.length === 0) return;
    const price = this.#prices.at(-1);
    const change = this.#change;
    setText(this.priceText, price.toFixed(2));
    setText(this.amountText, `${change < 0 ? "▼ −" : "▲ +"}${Math.abs(change).toFixed(2)}`);
    setText(this.percentText, `(${Math.abs((100 * change) / (price - change)).toFixed(2)} %)`);
    this.element.classList.toggle("rising", change >= 0);
    this.element.classList.toggle("falling", change < 0);
    this.#flash(price, now);
    this.#drawLine(change < 0 ? COLORS.down : COLORS.up);
  }

  // Twenty flashes a second would be unreadable, and more than three a hazard (WCAG 2.3.1): each tells the movement
  // since the one before, and the tiles keep out of step.
  #flash(price, now) {
    const { price: before, until } = this.#flashed;
    if (now < until || price === before) return;
    this.#flashed = { price, until: now + 700 + 700 * Math.random() };
    if (calm.matches || Number.isNaN(before)) return;
    const tint = `color-mix(in srgb, ${price > before ? COLORS.up : COLORS.down} 15%, ${COLORS.tile})`;
    this.element.animate([{ backgroundColor: tint }, { backgroundColor: COLORS.tile }], 600);
  }

  #drawLine(stroke) {
    const context = this.surface.begin();
    const { width, height } = this.surface;
    const low = Math.min(...this.#prices);
    const span = Math.max(...this.#prices) - low || 1;
    const step = (width - 4) / (Tile.HISTORY - 1);
    const left = width - 3 - step * (this.#prices.length - 1);
    const x = (index) => left + index * step;
    const y = (price) => height - 4 - ((price - low) / span) * (height - 8);

    context.beginPath();
    this.#prices.forEach((price, index) => context.lineTo(x(index), y(price)));
    context.strokeStyle = stroke;
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.stroke();

    context.lineTo(x(this.#prices.length - 1), height);
    context.lineTo(left, height);
    context.fillStyle = stroke;
    context.globalAlpha = 0.12;
    context.fill();
    context.globalAlpha = 1;
    context.beginPath();
    context.arc(x(this.#prices.length - 1), y(this.#prices.at(-1)), 2.2, 0, 2 * Math.PI);
    context.fill();
  }
}

/** The prices: one channel, in which each symbol is a key. */
class Market {
  #tiles = new Map(SYMBOLS.map((symbol) => [symbol, new Tile(symbol)]));

  constructor() {
    this.feed = new Feed(byId("market"), "ticker:demo", (update) => {
      this.#tiles.get(update.s)?.keep(update);
      return update.t;
    });
  }

  /** The age of the price that is oldest. */
  get age() {
    return Math.max(...Array.from(this.#tiles.values(), (tile) => tile.meter.age));
  }

  draw(now) {
    this.feed.draw();
    for (const tile of this.#tiles.values()) tile.draw(now, this.feed.rate);
  }
}

/** The game world: binary frames, their layout as documented at `World::encode` in feeds.rs. */
class World {
  static TRAIL_FRAMES = 14;
  static LINK_POINTS = 170;

  #frames = [];
  #frame = NaN;

  constructor() {
    this.surface = new Surface(byId("canvas"));
    // In JSON bytes travel as base64.
    const view = (data) => new DataView(Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0)).buffer);
    this.feed = new Feed(byId("world"), "game:world", (data) => this.#keep(view(data)));
  }

  #keep(view) {
    this.#frame = view.getUint32(8, true);
    const bodies = [];
    for (let at = 12; at < view.byteLength; at += 6) {
      bodies.push({
        x: view.getUint16(at, true) / WORLD.unitsPerPoint,
        y: view.getUint16(at + 2, true) / WORLD.unitsPerPoint,
        radius: view.getUint8(at + 4),
        hue: (view.getUint8(at + 5) * 360) / 256,
      });
    }
    this.#frames.push(bodies);
    if (this.#frames.length > World.TRAIL_FRAMES) this.#frames.shift();
    this.surface.stale = true;
    return view.getFloat64(0, true);
  }

  draw() {
    this.feed.draw();
    if (!this.surface.stale || this.#frames.length === 0) return;
    setText(byId("frame"), number.format(this.#frame));

    const context = this.surface.begin();
    const scale = this.surface.width / WORLD.width;
    context.scale(scale, scale);
    const bodies = this.#frames.at(-1);
    this.#drawLinks(context, bodies);
    if (!calm.matches) this.#drawTrails(context);
    for (const { x, y, radius, hue } of bodies) {
      const light = context.createRadialGradient(x - radius / 3, y - radius / 3, radius / 8, x, y, radius);
      light.addColorStop(0, `hsl(${hue} 85% 82%)`);
      light.addColorStop(1, `hsl(${hue} 62% 52%)`);
      context.fillStyle = light;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    }
  }

  #drawLinks(context, bodies) {
    context.strokeStyle = COLORS.muted;
    context.lineWidth = 2;
    bodies.forEach((a, index) => {
      for (const b of bodies.slice(index + 1)) {
        const distance = Math.hypot(a.x - b.x, a.y - b.y);
        if (distance > World.LINK_POINTS) continue;
        context.globalAlpha = 0.7 * (1 - distance / World.LINK_POINTS);
        context.beginPath();
        context.moveTo(a.x, a.y);
        context.lineTo(b.x, b.y);
        context.stroke();
      }
    });
    context.globalAlpha = 1;
  }

  #drawTrails(context) {
    for (let index = 1; index < this.#frames.length; index += 1) {
      const recent = index / this.#frames.length;
      this.#frames[index].forEach(({ x, y, radius, hue }, body) => {
        const from = this.#frames[index - 1][body];
        context.strokeStyle = `hsl(${hue} 70% 60% / ${0.3 * recent})`;
        context.lineWidth = 1.6 * radius * recent;
        context.beginPath();
        context.moveTo(from.x, from.y);
        context.lineTo(x, y);
        context.stroke();
      });
    }
  }
}

/** The ages over time: for each tenth of a second, the greatest age seen in it. */
class AgeChart {
  static SPAN_MS = 30000;
  static BUCKET_MS = 100;
  static GRID = [[1, "1 ms"], [10, "10 ms"], [100, "100 ms"], [1000, "1 s"], [10000, "10 s"]];
  static LABEL_PIXELS = 52;

  #buckets = [];

  constructor() {
    this.surface = new Surface(byId("ages"));
  }

  draw(now, prices, frames) {
    const at = Math.floor(now / AgeChart.BUCKET_MS) * AgeChart.BUCKET_MS;
    const last = this.#buckets.at(-1);
    if (last?.at === at) {
      last.prices = Math.max(last.prices, prices);
      last.frames = Math.max(last.frames, frames);
    } else {
      this.#buckets.push({ at, prices, frames });
      this.surface.stale = true;
    }
    while (this.#buckets[0].at < now - AgeChart.SPAN_MS) this.#buckets.shift();
    if (!this.surface.stale) return;

    const context = this.surface.begin();
    this.#drawGrid(context);
    this.#drawLine(context, now, "prices");
    this.#drawLine(context, now, "frames");
  }

  // Logarithmic, so that one page shows both the usual milliseconds and a stall of seconds.
  #y(age) {
    const share = Math.min(1, Math.log10(Math.max(1, age)) / 4);
    return this.surface.height - 9 - share * (this.surface.height - 18);
  }

  #drawGrid(context) {
    context.font = `11px ${styles.fontFamily}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    context.fillStyle = COLORS.muted;
    context.strokeStyle = COLORS.line;
    context.lineWidth = 1;
    for (const [age, label] of AgeChart.GRID) {
      const y = Math.round(this.#y(age)) + 0.5;
      context.fillText(label, AgeChart.LABEL_PIXELS - 10, y);
      context.beginPath();
      context.moveTo(AgeChart.LABEL_PIXELS, y);
      context.lineTo(this.surface.width, y);
      context.stroke();
    }
  }

  #drawLine(context, now, name) {
    const plot = this.surface.width - AgeChart.LABEL_PIXELS;
    context.strokeStyle = COLORS[name];
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    context.beginPath();
    for (const bucket of this.#buckets) {
      if (Number.isNaN(bucket[name])) continue;
      const x = this.surface.width - ((now - bucket.at) / AgeChart.SPAN_MS) * plot;
      context.lineTo(x, this.#y(bucket[name]));
    }
    context.stroke();
  }
}

const market = new Market();
const world = new World();
const chart = new AgeChart();
const feeds = [market.feed, world.feed];
countVisitors();
client.connect();

byId("switch").addEventListener("click", () => (client.state === "disconnected" ? client.connect() : client.disconnect()));

/** Shows how many pages are open: presence, asked for again when somebody has come or gone, and once where many have. */
function countVisitors() {
  const visitors = client.newSubscription("demo:visitors", { joinLeave: true });
  let timer;
  const count = async () => {
    try {
      setText(byId("visitors"), number.format((await visitors.presenceStats()).numClients));
    } catch {
      // The connection ended. The next one counts again.
    }
  };
  const countSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(count, COUNT_AFTER_MS);
  };
  visitors.on("subscribed", count).on("join", countSoon).on("leave", countSoon);
  visitors.subscribe();
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

function drawMasthead() {
  setText(byId("updates"), sum(feeds.map((feed) => feed.meter.perSecond)).toFixed(0));
  setText(byId("text"), (wire.perSecond / 1024).toFixed(1));
  setText(byId("received"), number.format(sum(feeds.map((feed) => feed.meter.total))));

  const root = document.documentElement.dataset;
  if (client.state === "disconnected") root.state = "disconnected";
  else if (feeds.every((feed) => feed.live)) root.state = "live";
  else if (root.state !== "connecting") root.state = "reconnecting";
  setText(byId("state"), root.state);
  setText(byId("switch"), root.state === "disconnected" ? "Connect" : "Disconnect");

  const missed = sum(feeds.map((feed) => feed.missed));
  if (feeds.some((feed) => feed.missed === undefined)) setText(byId("return"), "");
  else if (Number.isNaN(missed)) setText(byId("return"), "back: a new server, from its latest values");
  else setText(byId("return"), `back: recovered, the latest of ${number.format(missed)} updates`);
}

function draw(now) {
  market.draw(now);
  world.draw();
  chart.draw(now, market.age, world.feed.meter.age);
  drawMasthead();
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);

/** For tests and the curious: each feed by its channel. */
window.fantailDemo = { feeds: Object.fromEntries(feeds.map((feed) => [feed.channel, feed])) };
