const { createSocket } = require("node:dgram");

// The clock that Python calls monotonic.
module.exports = async () => {
  const now = process.hrtime.bigint().toString();
  const out = createSocket("udp4");
  const port = Number(process.env.BENCH_PING_PORT);
  await new Promise((resolve) => out.send(now, port, "127.0.0.1", resolve));
  out.close();
};
