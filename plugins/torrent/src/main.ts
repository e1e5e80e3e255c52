#!/usr/bin/env node
/** The program that a fleet starts. */
import { run } from "@metafleet/worker";

import plugin from "./plugin.js";

await run(plugin);
