// The story that every client tells: it chooses what to send, uploads a file, follows the task while the service is
// restarted and killed, and in the end knows as much as one that was never cut off.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import type { CreateTaskInput, CreateTaskMutation, StandingFragment } from "./generated/gql/graphql.ts";
import { Anything, Materials, Results, TasksChanged, TaskUpdated } from "./generated/operations.ts";

export interface Client {
  query<Data, Variables extends Record<string, unknown>>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ): Promise<Data>;
  createTask(input: CreateTaskInput): Promise<CreateTaskMutation["createTask"]>;
  follow<Data, Variables extends Record<string, unknown>>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
    tell: (data: Data) => void,
    fail: (reason: unknown) => void,
  ): () => void;
  close(): void | Promise<void>;
}

// Whoever runs the story reads these lines, and then restarts the service or goes on.
function say(what: string, details: object = {}): void {
  console.log(JSON.stringify({ what, ...details }));
}

export async function tell(client: Client): Promise<void> {
  const [recipients, ...meanwhile] = process.argv.slice(2);
  assert(recipients && meanwhile.length, "give the file of recipients, and the names of tasks that others make");

  const { viewer, applications, tasks } = await client.query(Materials, {});
  assert.equal(viewer.role, "SENDER");
  const application = applications.nodes.find(({ region }) => region === "CHINESE_MAINLAND");
  const signature = application?.signatures.nodes.find(({ selectable }) => selectable);
  const template = application?.templates.nodes.find(({ selectable }) => selectable);
  assert(application && signature && template);

  const payload = await client.createTask({
    name: `From Node.js ${process.pid}`,
    applicationId: application.id,
    signatureId: signature.id,
    templateId: template.id,
    recipients: { file: new File([await readFile(recipients)], basename(recipients)) },
  });
  assert.deepEqual(payload.errors, []);
  const task = payload.task;
  assert(task);
  say("created", { id: task.id, recipients: task.recipients });

  const updates = await followed(client, task, tasks.changeCursor, meanwhile);
  const last = updates.at(-1);
  assert(last);
  assert.equal(last.status, "COMPLETED");
  const revisions = updates.map(({ revision }) => revision);
  assert.deepEqual(revisions, revisions.toSorted((one, other) => one - other), "updates came out of order");

  const { task: result } = await client.query(Results, { id: task.id });
  assert(result);
  assert.deepEqual(inOrder(result), inOrder(last), "the last update is not the last state");
  assert.equal(result.messages.totalCount, result.counts.failed);
  const [failed] = result.messages.edges;
  assert.equal(failed?.node.result, "FAILED");
  assert(failed.node.failure?.advice);
  assert.match(result.billing.amount, /^\d+(\.\d+)?$/);
  const { node } = await client.query(Anything, { id: failed.node.id });
  assert(node?.__typename === "Message");
  assert.equal(node.number, failed.node.number);

  await client.close();
  say("done", { counts: result.counts, failedNumbersUrl: result.failedNumbersUrl });
}

// Some clients add __typename.
function inOrder({ counts }: Pick<StandingFragment, "counts">): number[] {
  return [counts.total, counts.waiting, counts.unknown, counts.delivered, counts.failed, counts.notSent];
}

// Until this task and those with the names have been seen completed: that tells of what was missed as well.
function followed(
  client: Client,
  task: StandingFragment,
  since: string,
  meanwhile: string[],
): Promise<StandingFragment[]> {
  const updates: StandingFragment[] = [];
  const newest = new Map<string, StandingFragment>();
  return new Promise((resolve, reject) => {
    const told = new Set<string>();
    const once = (what: string, holds: boolean) => {
      if (!holds || told.has(what)) return;
      told.add(what);
      say(what);
    };
    const look = () => {
      const [first] = meanwhile;
      once("following", updates.length > 0 && newest.has(task.name));
      once("back", first !== undefined && newest.has(first));
      const awaited = [task.name, ...meanwhile].map((name) => newest.get(name));
      if (updates.at(-1)?.status !== "COMPLETED") return;
      if (!awaited.every((standing) => standing?.status === "COMPLETED")) return;
      stopChanges();
      stopUpdates();
      resolve(updates);
    };
    const stopUpdates = client.follow(
      TaskUpdated,
      { id: task.id },
      ({ taskUpdated }) => {
        updates.push(taskUpdated);
        look();
      },
      reject,
    );
    const stopChanges = client.follow(
      TasksChanged,
      { since },
      ({ tasksChanged }) => {
        if (tasksChanged.task) newest.set(tasksChanged.task.name, tasksChanged.task);
        look();
      },
      reject,
    );
  });
}
