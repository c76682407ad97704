/** What the deployment does by itself. */

import { cronJobs } from "convex/server";
import { internal } from "./_generated/api";

const crons = cronJobs();
crons.hourly("purge embeddings", { minuteUTC: 17 }, internal.embeddings.purgeOld, {});

export default crons;
