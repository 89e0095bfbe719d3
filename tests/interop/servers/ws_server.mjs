// npm `ws`, with permessage-deflate: echo on /echo, fan-out on /raw/CHANNEL. The contract of every server is in ../load_checks.py.
import { WebSocketServer } from "ws";

const channels = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: true });

server.on("connection", (socket, { url }) => {
  // A load generator may leave by a reset.
  socket.on("error", () => {});
  if (url === "/echo") {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    return;
  }
  const all = channels.get(url) ?? new Set();
  channels.set(url, all.add(socket));
  socket.on("close", () => all.delete(socket));
  socket.on("message", (data, binary) => all.forEach((subscriber) => subscriber.send(data, { binary })));
});

server.on("listening", () => console.log(`listening edge=127.0.0.1:${server.address().port}`));
