// Makes N requests to PORT of this host on one connection.
const https = require("https");
const [port, times] = process.argv.slice(-2).map(Number);
const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
const body = '{"question":"?"}';
const headers = { "Content-Type": "application/json", "Content-Length": body.length };
const options = { agent, port, host: "127.0.0.1", path: "/v1/sessions", method: "POST", headers };
function call(left) {
  if (left === 0) return agent.destroy();
  const request = https.request({ ...options, rejectUnauthorized: false }, (response) => {
    response.on("data", () => {});
    response.on("end", () => call(left - 1));
  });
  request.end(body);
}
call(times);
