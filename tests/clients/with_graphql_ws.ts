import { plainly } from "./plain.ts";
import { socket } from "./generated/socket.ts";
import { tell } from "./story.ts";

await tell(plainly(socket));
