// What the scenarios beside it are played with: clients of npm `centrifuge`, tokens, a backend, a line that can be cut, and waiting
// for what must happen.
import { createHmac } from "node:crypto";
import { EventEmitter, once } from "node:events";
import net from "node:net";
import * as jsonSdk from "centrifuge";
import * as protobufSdk from "centrifuge/build/protobuf";
import WebSocket from "ws";

const WAIT_MS = 20_000;
/** Told of every event of every SDK. */
const told = new EventEmitter().setMaxListeners(0);
const SECRET = "the interop checks' secret of 32 bytes";

export class Harness {
  #closing = [];

  constructor(format, { edge, internal }) {
    Object.assign(this, { format, edge, internal });
    this.isJson = format === "json";
    this.sdk = this.isJson ? jsonSdk : protobufSdk;
  }

  /** A client, which is disconnected at the end. `events` gets what happens to it; `socket` is its newest WebSocket. */
  client(options = {}, edge = this.edge) {
    let socket;
    class Observed extends WebSocket {
      constructor(...given) {
        super(...given);
        socket = this;
      }
    }
    const url = `ws://${edge}/connection/websocket`;
    const quick = { websocket: Observed, minReconnectDelay: 20, maxReconnectDelay: 100, timeout: 10_000 };
    const client = new this.sdk.Centrifuge(url, { ...quick, ...options });
    const names = ["connecting", "connected", "disconnected", "error", "subscribed", "publication"];
    const observed = { client, events: new Events(client, names, this) };
    Object.defineProperty(observed, "socket", { get: () => socket });
    this.#closing.push(() => client.disconnect());
    return observed;
  }

  async connected(options, edge) {
    const observed = this.client(options, edge);
    observed.client.connect();
    await observed.events.next("connected");
    return observed;
  }

  /** A subscription of the client. */
  subscription(client, channel, options = {}) {
    const data = options.data && { data: this.encode(options.data) };
    const subscription = client.newSubscription(channel, { minResubscribeDelay: 20, maxResubscribeDelay: 100, ...options, ...data });
    const names = ["subscribing", "subscribed", "unsubscribed", "publication", "join", "leave", "error"];
    return { subscription, events: new Events(subscription, names, this) };
  }

  async subscribed(client, channel, options) {
    const observed = this.subscription(client, channel, options);
    observed.subscription.subscribe();
    observed.first = await observed.events.next("subscribed");
    return observed;
  }

  /** Data as the SDK takes and gives them: in Protobuf they are bytes. */
  encode(data) {
    return this.isJson ? data : new TextEncoder().encode(JSON.stringify(data));
  }

  decode(data) {
    return this.isJson ? data : JSON.parse(new TextDecoder().decode(data));
  }

  /** Publishes as a backend does; returns the publication's position. */
  async publish(channel, data) {
    const body = JSON.stringify({ channel, data });
    const answer = await fetch(`http://${this.internal}/api/publish`, { method: "POST", body });
    const { result, error } = await answer.json();
    if (!result) throw new Error(`publishing to ${channel} was answered ${JSON.stringify(error)}`);
    return result;
  }

  async publishAll(channel, all) {
    for (const data of all) await this.publish(channel, data);
  }

  /** A line to the server that can be cut, held up and led elsewhere. */
  async line() {
    const line = await Line.open(this.edge);
    this.#closing.push(() => line.close());
    return line;
  }

  end() {
    this.#closing.forEach((close) => close());
  }
}

/** What an emitter of the SDK has told, by name, in order. */
export class Events {
  constructor(emitter, names, harness) {
    for (const name of names) {
      this[name] = [];
      emitter.on(name, (context) => {
        this[name].push(name === "publication" ? { ...context, data: harness.decode(context.data) } : context);
        told.emit("told");
      });
    }
    this.taken = Object.fromEntries(names.map((name) => [name, 0]));
  }

  /** The first event of this name that was not taken yet. */
  async next(name) {
    await until(() => this[name].length > this.taken[name], `the event "${name}"`);
    return this[name][this.taken[name]++];
  }

  /** The data of all publications, once there are so many. */
  async data(count) {
    await until(() => this.publication.length >= count, () => `${count} publications, of which ${this.publication.length} arrived`);
    return this.publication.map(({ data }) => data);
  }
}

/** Waits until something holds, which only events change. */
export async function until(holds, what) {
  const signal = AbortSignal.timeout(WAIT_MS);
  while (!holds()) {
    await once(told, "told", { signal }).catch(() => {
      throw new Error(`waited in vain for ${typeof what === "function" ? what() : what}`);
    });
  }
}

/** The error that a promise is rejected with. */
export async function refused(promise) {
  const fulfilled = await promise.then((value) => ({ value }), (error) => error);
  if ("value" in fulfilled) throw new Error(`expected an error, got ${JSON.stringify(fulfilled.value)}`);
  return fulfilled.code;
}

/** A token of the server's secret, or of another. */
export function token(claims, secret = SECRET) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

/** Data that differ, from one number to another. */
export const numbered = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => ({ n: from + at, text: "Grüße, 世界 🐦" }));

/** Seconds since 1970, so many from now. */
export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

class Line {
  #pairs = new Set();
  #server = net.createServer((near) => this.#accept(near));

  static async open(target) {
    const line = new Line();
    line.target = target;
    await new Promise((listening) => line.#server.listen(0, "127.0.0.1", listening));
    line.edge = `127.0.0.1:${line.#server.address().port}`;
    return line;
  }

  #accept(near) {
    const [host, port] = this.target.split(":");
    const far = net.connect(Number(port), host);
    const pair = [near, far];
    this.#pairs.add(pair);
    near.pipe(far);
    far.pipe(near);
    // A cut line resets whoever still writes.
    pair.forEach((socket) => socket.on("error", () => {}));
    near.on("close", () => {
      this.#pairs.delete(pair);
      far.destroy();
    });
    far.on("close", () => near.destroySoon());
  }

  /** Ends all connections without a word of WebSocket. */
  cut() {
    this.#pairs.forEach((pair) => pair.forEach((end) => end.resetAndDestroy()));
  }

  /** Nothing that clients send arrives any more on the connections of now. */
  holdUp() {
    this.#pairs.forEach(([near, far]) => near.unpipe(far));
  }

  /** Nothing that the server sends arrives until it is called again. */
  holdDown(held) {
    this.#pairs.forEach(([near, far]) => (held ? far.unpipe(near) : far.pipe(near)));
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
