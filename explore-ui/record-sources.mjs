// Writes the checksum of the sources next to the built page, so that a test can tell whether the page is up to date.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const files = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"];
const sources = readdirSync("src", { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
files.push(...sources.map((entry) => join(entry.parentPath, entry.name)));
const digest = createHash("sha256");
for (const file of files.sort()) {
  digest.update(`${file}\n`);
  digest.update(readFileSync(file));
}
writeFileSync("../sslkit/explore/page/sources.sha256", `${digest.digest("hex")}\n`);
