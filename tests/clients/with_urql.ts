import { CreateTask } from "./generated/operations.ts";
import { socket } from "./generated/socket.ts";
import { urql } from "./generated/urql.ts";
import { tell } from "./story.ts";

await tell({
  async query(query, variables) {
    const { data, error } = await urql.query(query, variables, { requestPolicy: "network-only" });
    if (error) throw error;
    return data!;
  },
  async createTask(input) {
    const { data, error } = await urql.mutation(CreateTask, { input });
    if (error) throw error;
    return data!.createTask;
  },
  follow(query, variables, told, fail) {
    const { unsubscribe } = urql
      .subscription(query, variables)
      .subscribe(({ data, error }) => (data ? told(data) : fail(error)));
    return unsubscribe;
  },
  close: () => socket.dispose(),
});
