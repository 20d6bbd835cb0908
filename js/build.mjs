// Bundles each widget into one file, with its styles inside, and writes down whose code is in it.
import { build } from "esbuild";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { LICENCES, NOTICES } from "./licences.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const STATIC = join(HERE, "..", "marketlab", "widgets", "static");
const { widgets: WIDGETS } = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8"));

/** Bundles the widgets that are there; returns the packages whose code went into them. */
async function bundle(names) {
  const done = await build({
    absWorkingDir: HERE,
    entryPoints: names.map((name) => `src/${name}.js`),
    outdir: STATIC,
    bundle: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    minify: true,
    legalComments: "inline",
    loader: { ".css": "text" },
    metafile: true,
    logLevel: "warning",
  });
  const parts = Object.values(done.metafile.outputs).flatMap((output) => Object.entries(output.inputs));
  const kept = parts.filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  const packages = kept.map(([path]) => path.match(/(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1]);
  return [...new Set(packages)].filter(Boolean).sort();
}

/** The notice and licence of a package; a package without a licence fails the build. */
function licence(name) {
  const folder = join(HERE, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const files = readdirSync(folder).filter((file) => /^(notice|licen[cs]e)/i.test(file)).sort().reverse();
  const texts = files.map((file) => readFileSync(join(folder, file), "utf8").trim());
  if (!files.some((file) => /^licen/i.test(file))) texts.push(LICENCES[name]);
  if (texts.includes(undefined)) throw new Error(`${name} brings no licence: name it in licences.mjs`);
  return [`${name} ${version} (${license})`, NOTICES[name], ...texts].filter(Boolean).join("\n\n");
}

const names = WIDGETS.filter((name) => existsSync(join(HERE, "src", `${name}.js`)));
mkdirSync(STATIC, { recursive: true });
const packages = await bundle(names);
const opening = "The widgets' JavaScript in this folder contains parts of these packages.";
const notices = [opening, ...packages.map(licence)].join(`\n\n${"-".repeat(80)}\n\n`);
writeFileSync(join(STATIC, "THIRD_PARTY_NOTICES.txt"), `${notices}\n`);
for (const name of names) {
  const file = join(STATIC, `${name}.js`);
  process.stdout.write(`${relative(join(HERE, ".."), file)}  ${(statSync(file).size / 1000).toFixed(1)} kB\n`);
}
