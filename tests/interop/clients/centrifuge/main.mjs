// npm `centrifuge` in Node: plays one scenario of the client protocol. The contract of such programs is in ../../sdk_checks.py.
import * as delivery from "./delivery.mjs";
import { Harness } from "./harness.mjs";
import * as protocol from "./protocol.mjs";

const [name, format, servers] = process.argv.slice(2);
const harness = new Harness(format, JSON.parse(servers));
try {
  await { ...protocol, ...delivery }[name](harness, JSON.parse(servers));
} finally {
  harness.end();
}
