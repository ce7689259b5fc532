// Checks a server's log against its signed checkpoint, as docs/ledger-format.md describes it, in plain Node.
//
//   node verify-log.mjs FOLDER
//
// Prints one line of JSON: flaw (null where there is none), entries, root. Exit status: 0 verified, else 1.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();

function treeHash(leaves) {
  if (leaves.length < 2) return leaves.length ? sha256(Buffer.of(0), leaves[0]) : sha256("");
  let left = 1;
  while (left * 2 < leaves.length) left *= 2;
  return sha256(Buffer.of(1), treeHash(leaves.slice(0, left)), treeHash(leaves.slice(left)));
}

const folder = process.argv[2];
const [, name, encoded] = /^([^+]+)\+[0-9a-f]{8}\+(.+)\n$/.exec(readFileSync(join(folder, "key.pub"), "latin1"));
const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(encoded, "base64").subarray(1)]);
const key = createPublicKey({ key: der, format: "der", type: "spki" });
const [text, signatures] = readFileSync(join(folder, "checkpoint"), "utf8").split("\n\n");
const [origin, size, root] = text.split("\n");
const signed = Buffer.from(signatures.trim().split(" ")[2], "base64").subarray(4);
const leaves = readFileSync(join(folder, "log.jsonl"), "latin1").split("\n").slice(0, -1).slice(0, Number(size));

const whole = leaves.length === Number(size) && treeHash(leaves).toString("base64") === root;
const ok = whole && origin === name && verify(null, Buffer.from(`${text}\n`), key, signed);
const flaw = ok ? null : "log-wrong";
console.log(JSON.stringify({ flaw, entries: leaves.length, root: Buffer.from(root, "base64").toString("hex") }));
process.exitCode = ok ? 0 : 1;
