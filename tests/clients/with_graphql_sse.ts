import { plainly } from "./plain.ts";
import { stream } from "./generated/server_sent_events.ts";
import { tell } from "./story.ts";

await tell(plainly(stream));
