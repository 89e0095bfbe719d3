// The demo page: opens one WebSocket per channel and shows what arrives, how often, and how old it is.
//
// What arrives is kept at once; what is shown is drawn once per animation frame. The wire forms are those of
// server/src/demo/feeds.rs.

const SYMBOLS = ["AAPL", "AMD", "AMZN", "AVGO", "GOOGL", "META", "MSFT", "NFLX", "NVDA", "TSLA"];
const WORLD = { width: 1600, height: 900, unitsPerPoint: 32 };

const RATE_WINDOW_MS = 2000;
const LATE_MS = 250;
const STALLED_MS = 1000;
const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 15000;

const byId = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const number = new Intl.NumberFormat("en");

const styles = getComputedStyle(document.documentElement);
const COLORS = Object.fromEntries(
  ["up", "down", "tile", "line", "muted", "prices", "frames"].map((name) => [name, styles.getPropertyValue(`--${name}`)]),
);

/** What came in during the last RATE_WINDOW_MS. */
class Meter {
  #entries = [];

  add(bytes) {
    this.#entries.push({ at: performance.now(), bytes });
    this.#prune();
  }

  /** Messages and payload bytes a second. */
  read() {
    this.#prune();
    const bytes = this.#entries.reduce((sum, entry) => sum + entry.bytes, 0);
    const perSecond = 1000 / RATE_WINDOW_MS;
    return { messages: this.#entries.length * perSecond, bytes: bytes * perSecond };
  }

  #prune() {
    const from = performance.now() - RATE_WINDOW_MS;
    while (this.#entries.length > 0 && this.#entries[0].at < from) this.#entries.shift();
  }
}

/** One channel's socket, opened again whenever it closes. `show(data)` keeps a message and returns its time. */
class Feed {
  received = 0;
  live = false;
  meter = new Meter();
  #time = NaN;
  #failures = 0;

  constructor(channel, show) {
    this.channel = channel;
    this.show = show;
    this.#connect();
  }

  /** Milliseconds since what is shown was made; NaN before the first message. */
  get age() {
    return Date.now() - this.#time;
  }

  #connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/raw/${this.channel}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => this.#retry();
  }

  #receive(data) {
    this.live = true;
    this.#failures = 0;
    this.received += 1;
    this.meter.add(data.byteLength ?? data.length);
    this.#time = this.show(data);
  }

  /** Waits twice as long after each failure, less a random part, so that a server's clients do not return as one. */
  #retry() {
    this.live = false;
    const longest = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
    setTimeout(() => this.#connect(), longest * (0.5 + Math.random() / 2));
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

/** Writes a feed's rate and age into the `.rate` and `.age` inside `element`. */
function drawVitals(element, feed) {
  const age = feed.age;
  setText(element.querySelector(".rate"), `${feed.meter.read().messages.toFixed(1)} /s`);
  setText(element.querySelector(".age"), Number.isNaN(age) ? "–" : `${number.format(age)} ms`);
  element.classList.toggle("late", age >= LATE_MS && age < STALLED_MS);
  element.classList.toggle("stalled", age >= STALLED_MS);
}

/** One stock: `{"s": symbol, "p": price, "d": change since the opening, "t": Unix ms}`. */
class Tile {
  static HISTORY = 160;

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
    this.feed = new Feed(`ticker:${symbol}`, (data) => this.#keep(JSON.parse(data)));
  }

  #keep({ p, d, t }) {
    this.#prices.push(p);
    if (this.#prices.length > Tile.HISTORY) this.#prices.shift();
    this.#change = d;
    this.surface.stale = true;
    return t;
  }

  draw(now) {
    drawVitals(this.vitals, this.feed);
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

/** The game world: binary frames, their layout as documented at `World::encode` in feeds.rs. */
class World {
  static TRAIL_FRAMES = 14;
  static LINK_POINTS = 170;

  #frames = [];
  #frame = NaN;
  #skipped = 0;

  constructor() {
    this.surface = new Surface(byId("world"));
    this.feed = new Feed("game:world", (data) => this.#keep(new DataView(data)));
  }

  #keep(view) {
    const frame = view.getUint32(8, true);
    if (frame > this.#frame) this.#skipped += frame - this.#frame - 1;
    this.#frame = frame;

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
    drawVitals(byId("world-vitals"), this.feed);
    if (!this.surface.stale || this.#frames.length === 0) return;
    setText(byId("frame"), number.format(this.#frame));
    setText(byId("skipped"), number.format(this.#skipped));

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

const tiles = SYMBOLS.map((symbol) => new Tile(symbol));
const world = new World();
const chart = new AgeChart();
const feeds = [...tiles.map((tile) => tile.feed), world.feed];

function drawTotals() {
  const rates = feeds.map((feed) => feed.meter.read());
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  setText(byId("messages"), sum(rates.map((rate) => rate.messages)).toFixed(0));
  setText(byId("payload"), (sum(rates.map((rate) => rate.bytes)) / 1024).toFixed(1));
  setText(byId("received"), number.format(sum(feeds.map((feed) => feed.received))));

  const root = document.documentElement.dataset;
  const live = feeds.filter((feed) => feed.live).length;
  if (live === feeds.length) root.state = "live";
  else if (root.state === "live") root.state = "reconnecting";
  setText(byId("state"), `${root.state} ${live}/${feeds.length}`);
}

function draw(now) {
  tiles.forEach((tile) => tile.draw(now));
  world.draw();
  chart.draw(now, Math.max(...tiles.map((tile) => tile.feed.age)), world.feed.age);
  drawTotals();
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);

/** For tests and the curious: messages received so far, by channel. */
window.fantailDemo = {
  get received() {
    return Object.fromEntries(feeds.map((feed) => [feed.channel, feed.received]));
  },
};
