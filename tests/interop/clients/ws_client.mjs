// npm `ws`, with its default options: permessage-deflate is offered. The contract of every client is in ../checks.py.
import WebSocket from "ws";

const [url, last] = process.argv.slice(2);
const messages = [];
const socket = new WebSocket(url);

socket.on("message", (data, isBinary) => {
  messages.push(isBinary ? { b64data: data.toString("base64") } : { text: data.toString() });
  if (messages.at(-1).text === last) socket.close(1000);
});
socket.addEventListener("open", () => console.log("open"));
socket.addEventListener("close", ({ code, wasClean }) => {
  const deflate = socket.extensions.includes("permessage-deflate");
  console.log(JSON.stringify({ messages, code, clean: wasClean, deflate }));
});
