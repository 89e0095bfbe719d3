// Bun, as a peer of fantail-bench: echo on /echo, fan-out by its own publish on /raw/CHANNEL, compressed if BENCH_DEFLATE is set.
const deflate = "BENCH_DEFLATE" in process.env;

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 0,
  fetch(request, server) {
    const channel = request.url.endsWith("/echo") ? null : request.url;
    if (!server.upgrade(request, { data: channel })) return new Response(null, { status: 426 });
  },
  websocket: {
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: deflate,
    open(socket) {
      if (socket.data) socket.subscribe(socket.data);
    },
    message(socket, message) {
      if (socket.data) server.publish(socket.data, message, deflate);
      else socket.send(message);
    },
  },
});

console.log(`listening edge=127.0.0.1:${server.port}`);
