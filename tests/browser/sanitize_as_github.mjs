// Reads a JSON list of HTML texts, writes them sanitized by the allow-list that GitHub publishes, as rehype-sanitize has it.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [rehypePath, sanitizePath] = process.argv.slice(2);
const { rehype } = await import(pathToFileURL(rehypePath));
const { default: rehypeSanitize } = await import(pathToFileURL(sanitizePath));
const processor = rehype().data("settings", { fragment: true }).use(rehypeSanitize);
const texts = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(texts.map((text) => String(processor.processSync(text)))));
