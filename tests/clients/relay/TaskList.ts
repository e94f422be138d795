// What a Relay page of tasks asks for: a list that goes on, an object found again, what becomes of the store.
import { graphql } from "relay-runtime";

graphql`
  query TaskListQuery($id: ID!) {
    ...TaskList_tasks
    node(id: $id) {
      ...TaskMessages_task @alias(as: "messages")
      ...TaskList_task @alias(as: "task")
    }
  }
`;

graphql`
  fragment TaskList_tasks on Query
  @refetchable(queryName: "TaskListPaginationQuery")
  @argumentDefinitions(
    count: { type: "Int", defaultValue: 20 }
    cursor: { type: "String" }
    filter: { type: "TaskFilter" }
  ) {
    tasks(first: $count, after: $cursor, filter: $filter) @connection(key: "TaskList_tasks") {
      totalCount
      edges {
        node {
          ...TaskList_task
        }
      }
    }
  }
`;

graphql`
  fragment TaskList_task on Task @refetchable(queryName: "TaskListTaskRefetchQuery") {
    id
    name
    status
    counts { total delivered failed unknown }
    application { name }
  }
`;

graphql`
  mutation TaskListDeleteMutation($input: DeleteTaskInput!, $connections: [ID!]!) {
    deleteTask(input: $input) {
      deletedTaskId @deleteRecord @deleteEdge(connections: $connections)
      errors { __typename code message path }
    }
  }
`;

graphql`
  mutation TaskListCreateMutation($input: CreateTaskInput!, $connections: [ID!]!) {
    createTask(input: $input) {
      task @prependNode(connections: $connections, edgeTypeName: "TaskEdge") {
        ...TaskList_task
      }
      errors { __typename code message path }
    }
  }
`;

graphql`
  subscription TaskListSubscription($since: String) {
    tasksChanged(since: $since) {
      cursor
      kind
      taskId
      task {
        ...TaskList_task
      }
    }
  }
`;
