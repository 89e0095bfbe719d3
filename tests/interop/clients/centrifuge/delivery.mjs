// What arrives: everything once and in order over cuts and restarts, deltas, last values, and fewer updates for who wants fewer.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { numbered, refused, token, until } from "./harness.mjs";

/** What the connection's token subscribes to is there at once, gets last values, and is recovered. */
export async function server_subscriptions(h) {
  await h.publish("price:of-token", { last: 1 });
  const line = await h.line();
  const { client, events } = await h.connected({ token: token({ sub: "ada", channels: ["news:of-token", "price:of-token"] }) }, line.edge);
  assert.deepEqual(events.subscribed.map(({ channel }) => channel).sort(), ["news:of-token", "price:of-token"]);
  assert.deepEqual(await events.data(1), [{ last: 1 }]);
  await h.publishAll("news:of-token", numbered(1, 3));
  await events.data(4);
  line.cut();
  await h.publishAll("news:of-token", numbered(4, 6));
  const news = () => events.publication.filter(({ channel }) => channel === "news:of-token");
  await until(() => news().length >= 6, "what was missed");
  await h.publishAll("news:of-token", numbered(7, 7));
  await until(() => news().length >= 7, "what follows");
  assert.deepEqual(news().map(({ data }) => data), numbered(1, 7));
  assert.deepEqual(news().map(({ offset }) => offset), [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(await refused(client.presence("news:of-token")), 108);
}

/** The line is cut again and again while publications go on: nothing is lost, nothing comes twice, with deltas or without. */
export async function recovery(h) {
  const line = await h.line();
  const observed = await h.connected({}, line.edge);
  const plain = await h.subscribed(observed.client, "news:cut");
  const delta = await h.subscribed(observed.client, "news:cut-delta", { delta: "fossil" });
  const all = numbered(1, 300);
  for (const data of all) {
    const cuts = data.n % 60 === 0;
    if (cuts) line.cut();
    await Promise.all([h.publish("news:cut", data), h.publish("news:cut-delta", data)]);
    if (cuts) await observed.events.next("connected");
  }
  for (const { events } of [plain, delta]) {
    assert.deepEqual(await events.data(all.length), all);
    assert.deepEqual(events.publication.map(({ offset }) => offset), all.map(({ n }) => n));
    assert.ok(events.subscribed.length > 3, `subscribed ${events.subscribed.length} times`);
    for (const { wasRecovering, recovered } of events.subscribed.slice(1)) assert.deepEqual([wasRecovering, recovered], [true, true]);
  }
  // Who goes between the reply and what it brings has missed that still.
  observed.client.disconnect();
  await h.publishAll("news:cut", numbered(301, 305));
  plain.subscription.once("subscribed", () => {
    observed.client.disconnect();
    observed.client.connect();
  });
  observed.client.connect();
  assert.deepEqual(await plain.events.data(305), numbered(1, 305));
  // More than is kept: the SDK is told, and gets nothing in part.
  const short = await h.subscribed(observed.client, "short:cut");
  await h.publish("short:cut", 1);
  await short.events.data(1);
  observed.client.disconnect();
  await h.publishAll("short:cut", [2, 3, 4, 5, 6, 7]);
  observed.client.connect();
  await until(() => short.events.subscribed.length === 2, "the subscription");
  assert.deepEqual([short.events.subscribed[1].wasRecovering, short.events.subscribed[1].recovered], [true, false]);
  await h.publish("short:cut", 8);
  assert.deepEqual(await short.events.data(2), [1, 8]);
  // Who would rather load the state itself is refused with 112, and does so.
  const { client } = await h.connected();
  const { epoch } = short.events.subscribed[1].streamPosition;
  let asked = 0;
  const getState = async () => ({ offset: asked++ === 0 ? 1 : 6, epoch });
  const loading = await h.subscribed(client, "short:cut", { getState });
  assert.deepEqual(await loading.events.data(2), [7, 8]);
  assert.equal(asked, 2);
}

/** The server is shut down; another, which remembers nothing, takes its place. */
export async function restart(h, { pid, other }) {
  const line = await h.line();
  const { events, client } = await h.connected({}, line.edge);
  const news = await h.subscribed(client, "news:restart");
  await h.publishAll("news:restart", numbered(1, 3));
  await news.events.data(3);
  line.target = other.edge;
  process.kill(pid, "SIGTERM");
  await until(() => events.connected.length === 2, "the other server");
  assert.equal(events.connecting[1].code, 3001);
  await until(() => news.events.subscribed.length === 2, "the subscription");
  const { wasRecovering, recovered, streamPosition } = news.events.subscribed[1];
  assert.deepEqual([wasRecovering, recovered, streamPosition.offset], [true, false, 0]);
  h.internal = other.internal;
  await h.publish("news:restart", "anew");
  assert.deepEqual((await news.events.data(4))[3], "anew");
  assert.equal(news.events.publication[3].offset, 1);
}

/** Deltas decode to what was published, whoever joins when, and save bytes. */
export async function delta(h) {
  const size = (n, level) => (level === n % 60 ? n * 7919 : level * 13);
  const book = (n) => ({ n, depth: Array.from({ length: 60 }, (_, level) => [1000 + level, size(n, level)]) });
  const values = Array.from({ length: 400 }, (_, n) => (n % 50 === 49 ? "Grüße 🐦" : book(n)));
  const [early, late] = await Promise.all([h.connected(), h.connected()]);
  const first = await h.subscribed(early.client, "news:delta", { delta: "fossil" });
  await h.publishAll("news:delta", values.slice(0, 200));
  const second = await h.subscribed(late.client, "news:delta", { delta: "fossil" });
  await h.publishAll("news:delta", values.slice(200));
  assert.deepEqual(await first.events.data(400), values);
  assert.deepEqual(await second.events.data(200), values.slice(200));
  const saved = first.subscription.deltaStats();
  assert.ok(saved.numDeltaPayloads > 200 && saved.bytesReceived < saved.bytesDecoded / 2, JSON.stringify(saved));
  // Where a value is there at once, what follows may be a delta to it.
  const price = await h.subscribed(early.client, "price:delta", { delta: "fossil" });
  await h.publishAll("price:delta", values.slice(0, 20));
  await until(() => price.events.publication.at(-1)?.data?.n === 19, "the newest");
  const joined = await h.subscribed(late.client, "price:delta", { delta: "fossil" });
  assert.deepEqual(await joined.events.data(1), [values[19]]);
  await h.publish("price:delta", values[20]);
  assert.deepEqual((await joined.events.data(2))[1], values[20]);
}

/** A last value is there at once, and what was missed is recovered by the newest alone. */
export async function last_value(h) {
  const line = await h.line();
  await h.publishAll("price:last", [1, 2, 3]);
  const { client } = await h.connected({}, line.edge);
  for (const recoverable of [false, true]) {
    const { subscription, events } = await h.subscribed(client, "price:last", { recoverable });
    assert.deepEqual(await events.data(1), [3]);
    client.disconnect();
    await h.publishAll("price:last", [4, 5]);
    client.connect();
    assert.deepEqual(await events.data(2), [3, 5]);
    assert.deepEqual([events.subscribed[1].wasRecovering, events.subscribed[1].recovered], [recoverable, recoverable]);
    // Nothing was missed: with a position nothing comes, without one the value does.
    client.disconnect();
    client.connect();
    await until(() => events.subscribed.length === 3, "the third subscription");
    await h.publish("price:last", 3);
    assert.deepEqual(await events.data(recoverable ? 3 : 4), recoverable ? [3, 5, 3] : [3, 5, 5, 3]);
    subscription.unsubscribe();
    client.removeSubscription(subscription);
  }
}

/** Who asks for fewer updates gets fewer, and the newest at last; a change holds at once. */
export async function rates(h) {
  const { client } = await h.connected();
  const slow = await h.subscribed(client, "price:rate", { data: { rate: 1 } });
  const odd = await h.subscribed(client, "price:rate-odd", { data: { rate: 7 } });
  const every = await h.connected();
  const all = await h.subscribed(every.client, "price:rate");
  assert.deepEqual([h.decode(slow.first.data), h.decode(odd.first.data)], [{ rate: 1 }, { rate: 4 }]);
  await h.publishAll("price:rate", numbered(1, 50));
  await until(() => slow.events.publication.at(-1)?.data.n === 50, "the newest");
  assert.ok(slow.events.publication.length < 50, `${slow.events.publication.length} arrived`);
  assert.deepEqual(await all.events.data(50), numbered(1, 50));

  const change = async (rate) => h.decode((await client.rpc("sub.rate", h.encode({ channel: "price:rate", rate }))).data);
  await h.publish("price:rate", { n: 51 });
  // An answer to a later request shows that it has come to this client's worker.
  assert.equal(await refused(client.rpc("nothing", h.encode(1))), 104);
  // What waited at the old rate is not forgotten at the new one.
  assert.deepEqual(await change(30), { rate: 30 });
  await until(() => slow.events.publication.at(-1)?.data.n === 51, "what waited");
  assert.deepEqual(await change(null), { rate: 0 });
  const before = slow.events.publication.length;
  // No change meanwhile leaves anything out.
  const asking = Promise.all(Array.from({ length: 20 }, () => change(null)));
  await h.publishAll("price:rate", numbered(52, 71));
  await asking;
  assert.deepEqual((await slow.events.data(before + 20)).slice(before), numbered(52, 71));
  assert.equal(await refused(client.rpc("sub.rate", h.encode({ channel: "price:rate", rate: "x" }))), 107);
  assert.equal(await refused(client.rpc("sub.rate", h.encode({ channel: "price:none", rate: 1 }))), 103);
}

/** Who answers no ping is closed, and comes back; so does who is closed for being slow, and recovers. */
export async function silence(h) {
  const mute = async () => {
    const line = await h.line();
    const { events } = await h.connected({}, line.edge);
    line.holdUp();
    await until(() => events.connected.length === 2, "the connection after a missing pong");
    assert.equal(events.connecting[1].code, 3012);
  };
  const slow = async () => {
    const line = await h.line();
    const { client, events } = await h.connected({}, line.edge);
    const audit = await h.subscribed(client, "audit:slow");
    line.holdDown(true);
    // No compression makes it fit into the buffers between.
    const all = Array.from({ length: 140 }, (_, n) => ({ n, text: randomBytes(45_000).toString("base64") }));
    await h.publishAll("audit:slow", all);
    line.holdDown(false);
    const data = await audit.events.data(all.length);
    assert.deepEqual(data.map(({ n }) => n), all.map(({ n }) => n));
    assert.deepEqual(events.connecting.map(({ code }) => code), [0, 3008]);
  };
  await Promise.all([mute(), slow()]);
}
