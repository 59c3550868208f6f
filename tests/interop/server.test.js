// The scenario of run.js against a real server, where there is one: RATATOSKR_URL and RATATOSKR_DEV say where.
import { test } from "node:test";
import { everything } from "./run.js";

const { RATATOSKR_URL: url, RATATOSKR_DEV: folder } = process.env;

test("a real server, over ws and wss", { skip: url ? false : "no RATATOSKR_URL" }, () => everything(url, folder));
