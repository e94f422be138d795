"use strict";

// One task from the file to its failed numbers, as a person at a console of ours would see it.
const element = (id) => document.getElementById(id);
const socket = graphqlWs.createClient({
  url: api.replace(/^http/, "ws"),
  connectionParams: () => ({ authorization }),
});

async function chosen() {
  const { applications } = await execute(`{ applications { nodes { id
    signatures { nodes { id selectable } } templates { nodes { id selectable } } } } }`);
  const usable = ({ nodes }) => nodes.find(({ selectable }) => selectable)?.id;
  const [application] = applications.nodes.filter(({ signatures }) => usable(signatures));
  return {
    applicationId: application.id,
    signatureId: usable(application.signatures),
    templateId: usable(application.templates),
  };
}

function show({ status, progress, counts }) {
  element("progress").value = progress.percent;
  const entry = document.createElement("li");
  entry.textContent = `${status} ${progress.percent} % ${JSON.stringify(counts)}`;
  element("history").append(entry);
}

async function offerFailedNumbers(id) {
  const { task } = await execute("query ($id: ID!) { task(id: $id) { failedNumbersUrl } }", { id });
  element("failed").href = task.failedNumbersUrl;
  element("failed").hidden = false;
}

element("order").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = { name: "From elsewhere", ...(await chosen()), recipients: { file: null } };
  const { createTask } = await upload(
    "mutation ($input: CreateTaskInput!) { createTask(input: $input) { message task { id } errors { message } } }",
    { input },
    "variables.input.recipients.file",
  );
  element("message").textContent = createTask.message;
  const { id } = createTask.task;
  const query = `subscription ($id: ID!) { taskUpdated(id: $id) {
    status progress { percent } counts { delivered failed } } }`;
  socket.subscribe(
    { query, variables: { id } },
    {
      next: (result) => show(dataOf(result).taskUpdated),
      error: (reason) => (element("message").textContent = `The subscription failed: ${reason.code ?? reason}`),
      complete: () => offerFailedNumbers(id),
    },
  );
});
