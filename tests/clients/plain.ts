// A client that is nothing but fetch, and what subscribes.
import { print, type ExecutionResult } from "graphql";
import { CreateTask } from "./generated/operations.ts";
import type { CreateTaskMutation } from "./generated/gql/graphql.ts";
import { request, requestWithFile } from "./generated/request.ts";
import type { Client } from "./story.ts";

interface Subscribes {
  subscribe<Data>(
    operation: { query: string; variables: Record<string, unknown> },
    sink: {
      next: (result: ExecutionResult<Data>) => void;
      error: (reason: unknown) => void;
      complete: () => void;
    },
  ): () => void;
  dispose(): void | Promise<void>;
}

export function plainly(socket: Subscribes): Client {
  return {
    query: (document, variables) => request(print(document), variables),
    async createTask(input) {
      const { file } = input.recipients;
      if (!file) throw new Error("this one sends files");
      const variables = { input: { ...input, recipients: { file: null } } };
      const place = "variables.input.recipients.file";
      return (await requestWithFile<CreateTaskMutation>(print(CreateTask), variables, file, place)).createTask;
    },
    follow: (document, variables, told, fail) =>
      socket.subscribe<Parameters<typeof told>[0]>(
        { query: print(document), variables },
        {
          next: ({ data, errors }) => (data ? told(data) : fail(errors?.[0])),
          error: fail,
          complete: () => {},
        },
      ),
    close: () => socket.dispose(),
  };
}
