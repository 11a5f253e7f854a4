// Holds /asyncapi.json to AsyncAPI's own parser, which knows the schema and the rules of the standard. See `make asyncapi`.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, path] = process.argv.slice(2);
const { Parser } = createRequire(`${modules}/`)("@asyncapi/parser");
const text = readFileSync(path, "utf8");

const faults = async (document) => (await new Parser().parse(document)).diagnostics;
const found = await faults(text);
for (const each of found) console.error(`${each.path.join(".")}: ${each.message}`);

// A parser that takes anything would say nothing.
const broken = JSON.parse(text);
delete broken.info.title;
broken.operations.send_stream.action = "shout";
const words = (await faults(JSON.stringify(broken))).map((each) => each.message).join("\n");
const sees = words.includes("title") && words.includes("action");
if (!sees) console.error(`the parser does not see what is broken: ${words}`);

console.log(`${Object.keys(JSON.parse(text).components.messages).length} messages, ${found.length} faults`);
process.exit(found.length || !sees ? 1 : 0);
