// Does with the snippets of the page for frontend teams what their readers would do with them.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { type Change, follow } from "./generated/changes.ts";
import { createOnce } from "./generated/exactly_once.ts";
import { failedMessages } from "./generated/paging.ts";
import { renewingSocket } from "./generated/renewing_socket.ts";
import { request, RequestError } from "./generated/request.ts";
import { stream } from "./generated/server_sent_events.ts";
import { useToken } from "./generated/service.ts";
import { socket } from "./generated/socket.ts";
import { inZone, shown } from "./generated/times.ts";
import { createTask, errorsByField } from "./generated/upload.ts";

const { ORDER, RECIPIENTS, FAILING, TOKEN, SHORT_LIVED } = process.env as Record<string, string>;
const order = JSON.parse(ORDER!) as Record<string, unknown>;
const file = new File([await readFile(RECIPIENTS!)], "recipients.xlsx");

type Listed = { tasks: { totalCount: number; changeCursor: string; nodes: { name: string }[] } };
const list = async () => (await request<Listed>("{ tasks { totalCount changeCursor nodes { name } } }")).tasks;

async function errorsAreToldApart() {
  const wrong = await request("{ nothing }").catch((error: unknown) => error);
  assert(wrong instanceof RequestError);
  assert.equal(wrong.code, "BAD_USER_INPUT");

  useToken("gsms_unknown");
  const refused = await list().catch((error: unknown) => error);
  assert(refused instanceof RequestError);
  assert.equal(refused.code, "UNAUTHENTICATED");
  useToken(TOKEN!);

  const asData = await createTask({ ...order, name: "Late", sendAt: "2000-01-01T00:00:00Z" }, file);
  assert.equal(asData.task, null);
  assert.match(errorsByField(asData.errors)["sendAt"]!, /past/);
}

// The service answers, and the answer never arrives.
async function whatIsAskedTwiceIsMadeOnce() {
  const before = await list();
  const whole = globalThis.fetch;
  globalThis.fetch = async (...given) => {
    await (await whole(...given)).text();
    globalThis.fetch = whole;
    throw new TypeError("fetch failed");
  };
  const made = await createOnce({ ...order, name: "Once", recipients: { numbers: ["13800138000"] } });
  assert.deepEqual(made.errors, []);
  const after = await list();
  assert.equal(after.totalCount, before.totalCount + 1);
}

async function changesAreFollowed(subscribe: Parameters<typeof follow>[0], name: string) {
  const { changeCursor } = await list();
  const seen: Change[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = follow(
    subscribe,
    changeCursor,
    (change) => {
      seen.push(change);
      if (change.task?.name === name) resolve();
    },
    reject,
  );
  await createOnce({ ...order, name, recipients: { numbers: ["13800138001"] } });
  await promise;
  stop();
  assert.equal(seen.find(({ task }) => task?.name === name)?.kind, "CREATED");
  const later = await list();
  assert.notEqual(later.changeCursor, changeCursor);
}

async function aTokenIsReplacedOnTheWay() {
  const tokens = [SHORT_LIVED!, TOKEN!];
  const closed: number[] = [];
  const renewing = renewingSocket(async () => tokens.shift() ?? TOKEN!);
  renewing.on("closed", (event) => closed.push((event as CloseEvent).code));
  const name = "With the new token";
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { changeCursor } = await list();
  const tell = ({ task }: Change) => task?.name === name && resolve();
  const stop = follow(renewing.subscribe, changeCursor, tell, reject);
  await new Promise<void>((resolve) => renewing.on("closed", () => resolve()));
  await createOnce({ ...order, name, recipients: { numbers: ["13800138002"] } });
  await promise;
  stop();
  assert.equal(closed[0], 4403);
  assert.deepEqual(tokens, []);
  await renewing.dispose();
}

function timesAreShownWhereTheyAreMeant() {
  assert.equal(inZone("2026-03-01T09:00", "Asia/Shanghai"), "2026-03-01T01:00:00.000Z");
  assert.equal(inZone("2026-07-01T09:00", "Europe/Madrid"), "2026-07-01T07:00:00.000Z");
  assert.equal(inZone("2026-03-29T03:30", "Europe/Madrid"), "2026-03-29T01:30:00.000Z");
  assert.equal(inZone("2026-10-25T01:30", "Europe/Madrid"), "2026-10-24T23:30:00.000Z");
  assert.match(shown("2026-03-01T01:00:00+00:00", "Asia/Shanghai", "en-GB"), /1 Mar 2026, 09:00/);
}

await errorsAreToldApart();
await whatIsAskedTwiceIsMadeOnce();
await changesAreFollowed(socket.subscribe, "Over a WebSocket");
await changesAreFollowed(stream.subscribe, "As events");
await aTokenIsReplacedOnTheWay();
timesAreShownWhereTheyAreMeant();

const payload = await createTask({ ...order, name: "From a file" }, file);
assert.deepEqual(payload.errors, []);
console.log(JSON.stringify({ what: "created" }));
await new Promise<void>((resolve, reject) => {
  const query = "subscription ($id: ID!) { taskUpdated(id: $id) { status } }";
  socket.subscribe({ query, variables: { id: payload.task!.id } }, { next() {}, error: reject, complete: resolve });
});
const failed = await Array.fromAsync(failedMessages(payload.task!.id));
assert.equal(failed.length, Number(FAILING));
assert.equal(new Set(failed.map(({ id }) => id)).size, failed.length);
await socket.dispose();
stream.dispose();
console.log(JSON.stringify({ what: "done" }));
