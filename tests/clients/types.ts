// What the types refuse. Were anything of this `any`, tsc would complain that nothing is wrong here.
import type { CreateTaskInput, ResultsQuery, StandingFragment } from "./generated/gql/graphql.ts";

declare const standing: StandingFragment;
declare const results: ResultsQuery;
const order: Omit<CreateTaskInput, "recipients"> = { name: "Opening", applicationId: "a", templateId: "t" };

// @ts-expect-error - a moment is text
export const moment: number = standing.sendAt;
// @ts-expect-error - a task may be gone
export const name: string = results.task.name;
// @ts-expect-error - there is no such status
export const ended: boolean = standing.status === "FINISHED";
// @ts-expect-error - a number is text
export const messages: { edges: { node: { number: number } }[] } = results.task!.messages;
// @ts-expect-error - an amount is exact, and so no number
export const amount: number = results.task!.billing.amount;
// @ts-expect-error - a file is a File
export const upload: CreateTaskInput = { ...order, recipients: { file: "recipients.xlsx" } };
// @ts-expect-error - one way to name the recipients, not two
export const twice: CreateTaskInput = { ...order, recipients: { numbers: ["+34600000001"], uploadId: "u" } };
export const whole: CreateTaskInput = { ...order, recipients: { numbers: ["+34600000001"] } };
