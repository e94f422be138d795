"use strict";

(() => {
  const endpoint = new URL("/graphql", window.location.href).href;
  const socketAddress = endpoint.replace(/^http/, "ws");
  const exampleNames = [
    "LookAround", "PreviewTask", "CreateTask", "WatchTask", "Results", "TasksChanged",
    "ScheduleTask", "CancelTask", "DeleteTask",
  ];

  // GraphiQL keeps what is typed under these keys.
  const storedHeaders = "graphiql:headers";
  const storedTabs = "graphiql:tabState";

  // A fragment stays in the browser: the token in it reaches neither the server nor a log or a referrer.
  function takeToken() {
    const token = new URLSearchParams(window.location.hash.slice(1)).get("token");
    if (token) history.replaceState(null, "", window.location.pathname + window.location.search);
    return token;
  }

  function headersWith(token) {
    return JSON.stringify({ Authorization: `Bearer ${token ?? ""}` }, null, 2);
  }

  function parseObject(text) {
    try {
      return JSON.parse(text || "{}");
    } catch {
      return {};
    }
  }

  function store(key, value) {
    if (value) localStorage.setItem(key, value);
    else localStorage.removeItem(key);
  }

  // A new token also replaces the one in tabs kept from an earlier visit, and its ids those of untouched examples.
  function renew(tabs, headers, examples) {
    for (const tab of tabs) {
      const example = examples.find(({ query }) => query === tab.query);
      Object.assign(tab, { headers }, example && { variables: example.variables });
    }
  }

  // GraphiQL keeps the active tab twice, and opens it twice if the two differ by as much as null and "".
  function reopenTabs(newHeaders, examples) {
    const state = parseObject(localStorage.getItem(storedTabs));
    if (!Array.isArray(state.tabs)) return;
    if (newHeaders) renew(state.tabs, newHeaders, examples);
    const active = state.tabs[state.activeTabIndex] ?? {};
    for (const part of ["query", "variables", "headers"]) {
      active[part] ||= null;
      store(`graphiql:${part}`, active[part]);
    }
    localStorage.setItem(storedTabs, JSON.stringify(state));
  }

  async function post(body, headers, signal) {
    const response = await fetch(endpoint, {
      method: "POST",
      headers: { ...headers, Accept: "application/json", "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
    return response.json();
  }

  function authorization(headers) {
    const name = Object.keys(headers).find((key) => key.toLowerCase() === "authorization");
    return name ? { authorization: headers[name] } : {};
  }

  function bearer(headers) {
    return /^Bearer +(\S+)/i.exec(authorization(headers).authorization ?? "")?.[1];
  }

  // The pane begins with "Bearer " alone. Sent, that is a token nobody knows; left out, the service asks for one.
  function withoutEmptyToken(headers) {
    return Object.fromEntries(Object.entries(headers).filter(([, value]) => !/^Bearer\s*$/i.test(value)));
  }

  // A socket has one token for its whole life, so each set of headers gets a socket of its own.
  const sockets = new Map();
  function socketFor(headers) {
    const params = authorization(headers);
    const key = JSON.stringify(params);
    if (!sockets.has(key)) {
      const client = window.graphqlWs.createClient({
        url: socketAddress,
        connectionParams: params,
        // A service restarting is worth waiting for, a refusal (4400 to 4499) is not.
        shouldRetry: (event) => event instanceof CloseEvent && event.code < 4400,
      });
      sockets.set(key, client);
    }
    return sockets.get(key);
  }

  function operationsOf(query) {
    try {
      const { definitions } = window.GraphiQL.GraphQL.parse(query);
      return definitions.filter((node) => node.kind === "OperationDefinition");
    } catch {
      return []; // the server says what is wrong with it
    }
  }

  // Just after a change of tabs GraphiQL still has the name, and the parsed document, of the one before.
  function chosenOperation({ query, operationName }) {
    const operations = operationsOf(query);
    return operations.find((node) => node.name?.value === operationName) ?? operations[0];
  }

  // A closed socket is an event, which GraphiQL would show as an empty object.
  function readable(error) {
    if (error instanceof CloseEvent) {
      return new Error(`The connection was closed: ${error.code} ${error.reason}`.trim());
    }
    return error;
  }

  function fetcher({ query, variables, operationName }, { headers: written = {} } = {}) {
    const headers = withoutEmptyToken(written);
    const operation = chosenOperation({ query, operationName });
    const request = { query, variables, operationName: operation?.name?.value };
    if (operation?.operation !== "subscription") return post(request, headers);
    return {
      subscribe: (observer) => ({
        unsubscribe: socketFor(headers).subscribe(request, {
          next: (result) => observer.next(result),
          error: (error) => observer.error(readable(error)),
          complete: () => observer.complete(),
        }),
      }),
    };
  }

  const idsQuery = `query Ids {
    applications(first: 10) { nodes {
      id region
      signatures { nodes { id selectable } }
      templates { nodes { id selectable universal signature { id } } }
    } }
    newest: tasks(first: 1) { nodes { id } }
    scheduled: tasks(first: 1, filter: { statusIn: [SCHEDULED] }) { nodes { id } }
    canceled: tasks(first: 1, filter: { statusIn: [CANCELED] }) { nodes { id } }
  }`;

  // Ids of the account's own, so that the examples run as they are; without any, the reader puts them in.
  async function ownIds(headers) {
    if (!bearer(headers)) return {};
    try {
      const { data } = await post({ query: idsQuery }, headers, AbortSignal.timeout(5000));
      const first = (tasks) => tasks.nodes[0]?.id;
      return {
        ...usableApplication(data.applications.nodes),
        taskId: first(data.newest),
        scheduledId: first(data.scheduled),
        canceledId: first(data.canceled),
      };
    } catch (error) {
      console.info("The examples are shown without ids of this account:", error);
      return {};
    }
  }

  function usableApplication(applications) {
    for (const application of applications) {
      const mainland = application.region === "CHINESE_MAINLAND";
      for (const template of application.templates.nodes.filter((node) => node.selectable)) {
        const signature = application.signatures.nodes.find(
          (node) => node.selectable && (template.universal || node.id === template.signature?.id),
        );
        if (!mainland) return { applicationId: application.id, templateId: template.id };
        if (signature) {
          return { applicationId: application.id, templateId: template.id, signatureId: signature.id, mainland };
        }
      }
    }
    return {};
  }

  // None of these can be anybody's: unassigned in China, and reserved for drama in the United Kingdom.
  function numbersFor(mainland) {
    return mainland
      ? ["11000000001", "+8611000000002", "8611000000003", "11000000001", "not a number"]
      : ["+447700900001", "+447700900002", "+447700900003", "+447700900001", "not a number"];
  }

  // Noon, which is within the advised hours, with the reader's own offset from UTC.
  function tomorrow() {
    const moment = new Date();
    moment.setDate(moment.getDate() + 1);
    moment.setHours(12, 0, 0, 0);
    const offset = -moment.getTimezoneOffset();
    const two = (number) => String(Math.floor(Math.abs(number))).padStart(2, "0");
    const date = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
    return `${date}T12:00:00${offset < 0 ? "-" : "+"}${two(offset / 60)}:${two(offset % 60)}`;
  }

  function variablesFor(ids) {
    const input = {
      name: "My first task",
      applicationId: ids.applicationId ?? "(id of an application, see LookAround)",
      templateId: ids.templateId ?? "(id of a template that is selectable)",
      recipients: { numbers: numbersFor(ids.mainland ?? !ids.applicationId) },
    };
    if (ids.signatureId) input.signatureId = ids.signatureId;
    return {
      PreviewTask: { input },
      CreateTask: { input },
      WatchTask: { id: ids.taskId ?? "(id of a task, see CreateTask)" },
      ScheduleTask: { input: { ...input, name: "For tomorrow", sendAt: tomorrow() } },
      CancelTask: { id: ids.scheduledId ?? "(id of a task, see ScheduleTask)" },
      DeleteTask: { id: ids.canceledId ?? ids.scheduledId ?? "(id of a task, see CancelTask)" },
    };
  }

  async function loadQueries() {
    return Promise.all(
      exampleNames.map(async (name) => {
        const text = await (await fetch(`/graphql/assets/examples/${name}.graphql`)).text();
        return { name, query: text.trimEnd().replaceAll("{{url}}", endpoint) };
      }),
    );
  }

  async function open() {
    const token = takeToken();
    const headers = (!token && localStorage.getItem(storedHeaders)) || headersWith(token);
    const [queries, ids] = await Promise.all([loadQueries(), ownIds(parseObject(headers))]);
    const variables = variablesFor(ids);
    const defaultTabs = queries.map(({ name, query }) => ({
      query,
      headers,
      variables: JSON.stringify(variables[name] ?? {}, null, 2),
    }));
    reopenTabs(token && headers, defaultTabs);
    const { GraphiQL, React, ReactDOM } = window;
    const logo = React.createElement(GraphiQL.Logo, null, "Group SMS Assistant");
    ReactDOM.render(
      React.createElement(
        GraphiQL,
        {
          fetcher,
          defaultTabs,
          defaultHeaders: headers,
          shouldPersistHeaders: true,
          defaultEditorToolsVisibility: bearer(parseObject(headers)) ? "variables" : "headers",
        },
        logo,
      ),
      document.getElementById("graphiql"),
    );
  }

  open();
})();
