import { apollo } from "./generated/apollo.ts";
import { CreateTask } from "./generated/operations.ts";
import { socket } from "./generated/socket.ts";
import { tell } from "./story.ts";

await tell({
  async query(query, variables) {
    const { data } = await apollo.query({ query, variables, fetchPolicy: "network-only" });
    return data!;
  },
  async createTask(input) {
    const { data } = await apollo.mutate({ mutation: CreateTask, variables: { input } });
    return data!.createTask;
  },
  follow(query, variables, told, fail) {
    const subscription = apollo.subscribe({ query, variables }).subscribe({
      next: ({ data, error }) => (data ? told(data as Parameters<typeof told>[0]) : fail(error)),
      error: fail,
    });
    return () => subscription.unsubscribe();
  },
  async close() {
    apollo.stop();
    await socket.dispose();
  },
});
