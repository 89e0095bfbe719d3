// The package ws, as a peer of fantail-bench: echo on /echo, fan-out on /raw/CHANNEL.
import { WebSocketServer } from "ws";

const channels = new Map();

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, clientTracking: false, perMessageDeflate: false });

server.on("connection", (socket, request) => {
  // Clients leave by a reset.
  socket.on("error", () => {});
  if (request.url === "/echo") {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    return;
  }
  if (!channels.has(request.url)) channels.set(request.url, new Set());
  const subscribers = channels.get(request.url);
  subscribers.add(socket);
  socket.on("close", () => subscribers.delete(socket));
  socket.on("message", (data, binary) => {
    for (const subscriber of subscribers) subscriber.send(data, { binary });
  });
});

server.on("listening", () => console.log(`listening edge=127.0.0.1:${server.address().port}`));
