"use strict";

// What a frontend without any GraphQL library does. Its address ends in #api=…&token=….
const { api, token } = Object.fromEntries(new URLSearchParams(window.location.hash.slice(1)));
const authorization = `Bearer ${token}`;

function dataOf({ data, errors }) {
  if (errors) throw new Error(errors[0].message);
  return data;
}

async function execute(query, variables = {}) {
  const response = await fetch(api, {
    method: "POST",
    headers: { Authorization: authorization, "Content-Type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  return dataOf(await response.json());
}

async function upload(query, variables, place) {
  const form = new FormData();
  form.append("operations", JSON.stringify({ query, variables }));
  form.append("map", JSON.stringify({ 0: [place] }));
  form.append("0", document.getElementById("recipients").files[0]);
  const response = await fetch(api, {
    method: "POST",
    headers: { Authorization: authorization, "Apollo-Require-Preflight": "true" },
    body: form,
  });
  return dataOf(await response.json());
}

// All events until the subscription completes.
function follow(query, variables) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(api.replace(/^http/, "ws"), "graphql-transport-ws");
    const events = [];
    const send = (message) => socket.send(JSON.stringify(message));
    const received = {
      connection_ack: () => send({ id: "1", type: "subscribe", payload: { query, variables } }),
      ping: () => send({ type: "pong" }),
      next: ({ payload }) => events.push(dataOf(payload)),
      error: ({ payload }) => reject(new Error(payload[0].message)),
      complete: () => {
        resolve(events);
        socket.close(1000);
      },
    };
    socket.onopen = () => send({ type: "connection_init", payload: { authorization } });
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      received[message.type](message);
    };
    socket.onclose = ({ code }) => reject(new Error(`The socket was closed: ${code}`));
  });
}

async function download(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return {
    disposition: response.headers.get("Content-Disposition"),
    octets: Array.from(new Uint8Array(await response.arrayBuffer())),
  };
}

// The same as `follow`, as server-sent events.
async function followStream(query, variables) {
  const response = await fetch(api, {
    method: "POST",
    headers: { Authorization: authorization, "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ query, variables }),
  });
  const events = (await response.text()).split("\n\n").map((event) => event.split("\n"));
  return events.filter(([kind]) => kind === "event: next").map(([, data]) => dataOf(JSON.parse(data.slice(6))));
}
