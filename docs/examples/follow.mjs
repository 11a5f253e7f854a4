// Follows a workspace and remembers how far it has come: LEDGERLINE_URL, LEDGERLINE_API_KEY, and a file. Node 18 or later.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

const { LEDGERLINE_URL: url, LEDGERLINE_API_KEY: key } = process.env;
const checkpoint = process.argv[2];
for (;;) {
  try {
    const after = existsSync(checkpoint) ? readFileSync(checkpoint, "utf8") : "0";
    const answer = await fetch(`${url}/v1/events/stream?after=${after}`, { headers: { "X-API-Key": key } });
    if (!answer.ok) throw new Error(await answer.text());
    let text = "";
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      const lines = (text + part).split("\n");
      text = lines.pop();
      for (const line of lines.filter((each) => each.startsWith("data: "))) {
        const event = JSON.parse(line.slice(6));
        console.log(event.sequence, event.type, JSON.stringify(event.data)); // here is where the work is done
        writeFileSync(`${checkpoint}.new`, event.sequence);
        renameSync(`${checkpoint}.new`, checkpoint);
      }
    }
  } catch (problem) {
    console.error(problem.message);
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
