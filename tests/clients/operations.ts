// What the story asks for. graphql-codegen reads this beside its configuration; the types come out of the schema.
import { graphql } from "./gql/index.ts";

export const Materials = graphql(`
  query Materials {
    viewer { role account { name timeZone currency } }
    applications(first: 10) {
      nodes {
        id
        region
        signatures(first: 10) { nodes { id selectable } }
        templates(first: 10) { nodes { id selectable blockers { code fix } } }
      }
    }
    tasks(first: 1) { changeCursor }
  }
`);

export const CreateTask = graphql(`
  mutation CreateTask($input: CreateTaskInput!) {
    createTask(input: $input) {
      message
      task { ...Standing recipients { rows imported invalid duplicates optedOut } }
      warnings { code message }
      errors {
        code
        message
        path
        ... on RecipientFileError { recipients { rows invalid } }
        ... on NotSelectableError { blockers { code message fix } }
        ... on SendTimeError { earliest latest }
      }
    }
  }
`);

export const Standing = graphql(`
  fragment Standing on Task {
    id
    name
    status
    revision
    sendAt
    counts { total waiting unknown delivered failed notSent }
  }
`);

export const TaskUpdated = graphql(`
  subscription TaskUpdated($id: ID!) {
    taskUpdated(id: $id) { ...Standing progress { percent estimatedFinishAt } }
  }
`);

export const TasksChanged = graphql(`
  subscription TasksChanged($since: String!) {
    tasksChanged(since: $since) { cursor kind taskId task { ...Standing } }
  }
`);

export const Results = graphql(`
  query Results($id: ID!) {
    task(id: $id) {
      ...Standing
      failedNumbersUrl(format: CSV)
      billing { amount estimatedAmount currency }
      messages(first: 100, filter: { resultIn: [FAILED] }) {
        totalCount
        pageInfo { hasNextPage endCursor }
        edges { cursor node { id number result failure { code cause advice } } }
      }
    }
  }
`);

export const Anything = graphql(`
  query Anything($id: ID!) {
    node(id: $id) { __typename id ... on Task { name } ... on Message { number } }
  }
`);
