// What a client may ask and what it is answered: connections, subscriptions, tokens, sizes and codes.
import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";
import { inSeconds, numbered, refused, token, until } from "./harness.mjs";

/** Who may connect, and what the SDK makes of it when it may not. */
export async function connect(h) {
  const anonymous = await h.connected();
  assert.match(anonymous.events.connected[0].client, /^[0-9a-f-]{36}$/);

  await h.connected({ token: token({ sub: "ada", exp: inSeconds(60) }) });

  for (const bad of [token({ sub: "ada" }, "another secret"), "no token"]) {
    const { client, events } = h.client({ token: bad });
    client.connect();
    assert.equal((await events.next("disconnected")).code, 3500);
  }

  let asked = 0;
  const getToken = async () => (++asked, token({ sub: "ada", exp: inSeconds(60) }));
  const renewed = h.client({ token: token({ sub: "ada", exp: inSeconds(-1) }), getToken });
  // In one message with `connect`: what is not connected may not subscribe.
  const early = h.subscription(renewed.client, "room:early");
  early.subscription.subscribe();
  renewed.client.connect();
  await renewed.events.next("connected");
  await early.events.next("subscribed");
  assert.equal(asked, 1);
  assert.deepEqual(renewed.events.error.map(({ error }) => error.code), [109]);
  assert.equal(renewed.events.disconnected.length, 0);

  const refusing = h.client({ token: token({ exp: inSeconds(-1) }), getToken: () => Promise.reject(new h.sdk.UnauthorizedError("no")) });
  refusing.client.connect();
  assert.equal((await refusing.events.next("disconnected")).code, 1);
}

/** Subscriptions come and go; publications of backends and of clients arrive, with who published them. */
export async function subscribe(h) {
  const { client } = await h.connected({ token: token({ sub: "ada", info: { name: "Ada" } }) });
  const other = await h.connected();
  const channels = ["room:1", "room:Grüße 世界/🐦", `room:${"x".repeat(250)}`];
  for (const channel of channels) {
    const { subscription, events } = await h.subscribed(client, channel);
    assert.equal((await h.publish(channel, { from: "backend" })).offset, 1);
    await client.publish(channel, h.encode({ from: "client" }));
    assert.deepEqual(await events.data(2), [{ from: "backend" }, { from: "client" }]);
    assert.deepEqual(events.publication.map(({ offset }) => offset), [1, 2]);
    const { user, client: id, connInfo } = events.publication[1].info;
    assert.deepEqual([user, id, h.decode(connInfo)], ["ada", client._client, { name: "Ada" }]);

    assert.equal(await refused(other.client.publish(channel, h.encode(1))), 103);
    subscription.unsubscribe();
    await h.publish(channel, "nobody hears it");
    // After its reply nothing more of the channel can come.
    assert.equal(await refused(client.history(channel)), 103);
    assert.equal(events.publication.length, 2);
    subscription.subscribe();
    await until(() => events.subscribed.length === 2, "the second subscription");
  }
  const open = await h.subscribed(other.client, "open:1");
  await open.subscription.publish(h.encode(null));
  assert.deepEqual(await open.events.data(1), [null]);

  assert.equal(await refused(client.rpc("nothing", h.encode(1))), 104);
  const long = h.subscription(client, "x".repeat(256));
  long.subscription.subscribe();
  assert.equal((await long.events.next("unsubscribed")).code, 107);
}

export async function history(h) {
  const { client } = await h.connected();
  await h.publishAll("short:1", numbered(1, 8));
  const { subscription, first } = await h.subscribed(client, "short:1");
  const { epoch } = first.streamPosition;
  const ask = async (options) => {
    const { publications, offset, epoch: found } = await subscription.history(options);
    assert.deepEqual([offset, found], [8, epoch]);
    const offsets = publications.map((publication) => publication.offset);
    assert.deepEqual(publications.map(({ data }) => h.decode(data)), offsets.map((n) => numbered(n, n)[0]));
    return offsets;
  };
  assert.deepEqual(await ask({ limit: 0 }), []);
  assert.deepEqual(await ask({ limit: 2 }), [4, 5]);
  assert.deepEqual(await ask({ limit: -1 }), [4, 5, 6, 7, 8]);
  assert.deepEqual(await ask({ limit: 2, reverse: true }), [8, 7]);
  assert.deepEqual(await ask({ limit: 2, since: { offset: 5, epoch } }), [6, 7]);
  assert.deepEqual(await ask({ limit: 2, since: { offset: 7, epoch }, reverse: true }), [6, 5]);
  assert.equal(await refused(subscription.history({ limit: 2, since: { offset: 1, epoch } })), 112);
  assert.equal(await refused(subscription.history({ limit: 2, since: { offset: 7, epoch: "another" } })), 112);
  const price = await h.subscribed(client, "price:history");
  assert.equal(await refused(price.subscription.history({ limit: 1 })), 108);
  assert.equal(await refused(price.subscription.presence()), 108);
}

export async function presence(h) {
  const [ada, bob] = await Promise.all(["ada", "bob"].map((sub) => h.connected({ token: token({ sub, info: { is: sub } }) })));
  const watching = await h.subscribed(ada.client, "room:present", { joinLeave: true });
  const { subscription } = await h.subscribed(bob.client, "room:present");
  const join = await (async () => {
    for (;;) {
      const { info } = await watching.events.next("join");
      if (info.user === "bob") return info;
    }
  })();
  assert.deepEqual(h.decode(join.connInfo), { is: "bob" });
  const { clients } = await subscription.presence();
  assert.deepEqual(Object.values(clients).map(({ user }) => user).sort(), ["ada", "bob"]);
  assert.equal(clients[join.client].user, "bob");
  const { numClients, numUsers } = await subscription.presenceStats();
  assert.deepEqual([numClients, numUsers], [2, 2]);
  bob.client.disconnect();
  assert.equal((await watching.events.next("leave")).info.user, "bob");
  assert.equal((await watching.subscription.presenceStats()).numClients, 1);
}

/** Tokens are renewed in time; where they are not, the server ends what they allowed, and the SDK begins anew. */
export async function tokens(h) {
  const grants = (claims, log) => async () => (log.push(1), token({ ...claims, exp: inSeconds(log.length < 2 ? 2 : 60) }));
  const never = () => new Promise(() => {});
  const of = (claims) => token({ ...claims, exp: inSeconds(2) });

  const renews = async () => {
    const [connection, subscription] = [[], []];
    const ada = await h.connected({ getToken: grants({ sub: "ada" }, connection) });
    const getToken = grants({ sub: "ada", channel: "private:renewed", info: { seat: 1 } }, subscription);
    const { events } = await h.subscribed(ada.client, "private:renewed", { getToken });
    await until(() => connection.length === 2 && subscription.length === 2, "both tokens' renewal");
    // Longer than the first tokens and their grace: the renewed ones hold.
    const bob = await h.connected({ token: of({ sub: "bob" }), getToken: never });
    assert.equal((await until(() => bob.events.connecting.length === 2, "bob's end"), bob.events.connecting[1].code), 3005);
    await h.publish("private:renewed", "still here");
    assert.deepEqual(await events.data(1), ["still here"]);
    assert.deepEqual([ada.events.connecting.length, events.subscribing.length], [1, 1]);
  };
  const ends = async () => {
    const eve = await h.connected({ token: token({ sub: "eve" }) });
    let asked = 0;
    const getToken = () => (asked++ === 1 ? never() : Promise.resolve(of({ sub: "eve", channel: "private:ended" })));
    const { events } = await h.subscribed(eve.client, "private:ended", { getToken });
    await until(() => events.subscribing.length === 2, "the subscription's end");
    assert.equal(events.subscribing[1].code, 2501);
  };
  const refuses = async () => {
    const { client } = await h.connected({ token: token({ sub: "eve" }) });
    const claims = { sub: "eve", channel: "private:refused" };
    const cases = [[{}, 103], [{ token: token(claims, "another") }, 103], [{ token: token({ ...claims, channel: "private:x" }) }, 103]];
    for (const [options, code] of [...cases, [{ token: token({ ...claims, sub: "ada" }) }, 103], [{ token: of(claims).slice(1) }, 103]]) {
      const { subscription, events } = h.subscription(client, "private:refused", options);
      subscription.subscribe();
      assert.equal((await events.next("unsubscribed")).code, code);
      client.removeSubscription(subscription);
    }
    const expired = token({ ...claims, exp: inSeconds(-1) });
    await h.subscribed(client, "private:refused", { token: expired, getToken: async () => token({ ...claims, exp: inSeconds(60) }) });
  };
  /** A backend that answers with an old token is asked again: the SDK is not to give up. */
  const stale = async () => {
    let asked = 0;
    const getToken = async () => token({ sub: "ada", exp: inSeconds([2, -1, 60][Math.min(asked++, 2)]) });
    const { events } = await h.connected({ getToken });
    await until(() => events.connected.length === 2, "the connection after an old token");
    assert.equal(events.disconnected.length, 0);
  };
  await Promise.all([renews(), ends(), refuses(), stale()]);
}

/** Much at once: large messages both ways, and many subscriptions. */
export async function size(h) {
  const connection = await h.connected();
  const { client } = connection;
  const large = { text: "Grüße 世界 🐦 ".repeat(30_000) };
  const { events } = await h.subscribed(client, "open:large");
  await client.publish("open:large", h.encode(large));
  await h.publish("open:large", large);
  assert.deepEqual(await events.data(2), [large, large]);

  const channels = Array.from({ length: 200 }, (_, n) => `news:many-${n}`);
  client.startBatching();
  const subscribing = channels.map((channel) => h.subscribed(client, channel));
  client.stopBatching();
  const subscribed = await Promise.all(subscribing);
  for (const channel of channels) await h.publish(channel, channel);
  for (const [at, { events: own }] of subscribed.entries()) assert.deepEqual(await own.data(1), [channels[at]]);

  // Beyond what the server takes in one message; the SDK does not try that again.
  client.publish("open:large", h.encode("x".repeat(1 << 20))).catch(() => {});
  assert.equal((await connection.events.next("disconnected")).code, 3);
}

/** What breaks the protocol, and what comes of it: through the SDK's own socket, so that it draws its consequences, and without one. */
export async function codes(h) {
  const send = (socket, json, protobuf) => socket.send(h.isJson ? json : Buffer.from(protobuf));
  // `id` 0 where there must be one; a second `connect`; what is no command.
  const faults = [
    ['{"subscribe":{"channel":"news:x"}}', "\x0a\x2a\x08\x0a\x06news:x"],
    ['{"id":9,"connect":{}}', "\x04\x08\x09\x22\x00"],
    ["{", "\x09x"],
  ];
  for (const [json, protobuf] of faults) {
    const observed = await h.connected();
    send(observed.socket, json, protobuf);
    assert.equal((await observed.events.next("disconnected")).code, 3501, json);
  }
  const raw = async (payload) => {
    const socket = new WebSocket(`ws://${h.edge}/connection/websocket`, h.isJson ? "centrifuge-json" : "centrifuge-protobuf");
    await once(socket, "open");
    if (payload !== undefined) socket.send(payload);
    return (await once(socket, "close"))[0];
  };
  const early = h.isJson ? '{"id":1,"subscribe":{"channel":"news:x"}}' : Buffer.from("\x0c\x08\x01\x2a\x08\x0a\x06news:x");
  assert.equal(await raw(early), 3501);
  assert.equal(await raw(h.isJson ? Buffer.from('{"id":1,"connect":{}}') : "text"), 3501);
  const expired = JSON.stringify({ id: 1, connect: { token: token({ exp: inSeconds(-1) }) } });
  const refusedWithMore = h.isJson ? raw(`${expired}\n{"id":2,"subscribe":{"channel":"news:x"}}`) : raw();
  assert.deepEqual(await Promise.all([raw(), refusedWithMore]), [3502, 3502]);
}
