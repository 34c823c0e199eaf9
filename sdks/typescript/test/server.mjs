// A licensing server for tests: it gives the responses that a test sets, and keeps the requests.

import { once } from "node:events";
import { createServer } from "node:http";

export async function startServer() {
  const requests = [];
  /** The responses by path: `{status, body, headers}`, or a function that returns them. */
  const responses = new Map();
  const server = createServer(async (request, response) => {
    requests.push(request);
    const set = responses.get(request.url) ?? problem(404, "not_found");
    const { status = 200, body = "", headers = {} } = typeof set === "function" ? await set() : set;
    // An idle connection has timers, which tests with timers of their own would confuse.
    response.writeHead(status, { connection: "close", ...headers });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return { url: `http://127.0.0.1:${server.address().port}`, requests, responses, stop };
}

export const problem = (status, code, headers = {}) => ({
  status,
  headers: { "content-type": "application/problem+json", ...headers },
  body: { type: "about:blank", title: code, status, code, detail: "", request_id: "0" },
});
