// A verifier of docs/ledger-format.md in plain Node, which shares no code with FedLedger.
//
//   node verify.mjs LEDGER.jsonl ...
//
// Prints one line of JSON a file: flaw (null where there is none), entry, head. Exit status: 0 all verified, else 1.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

class Flaw extends Error {}
const require = (holds, code) => {
  if (!holds) throw new Flaw(code);
};

// Canonical JSON
const ESCAPES = { '"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r" };
const escape = (c) => ESCAPES[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
const quote = (text) => `"${text.replace(/["\\\x00-\x1f]/g, escape)}"`;

function canonical(value) {
  if (typeof value === "number" && (!Number.isSafeInteger(value) || Object.is(value, -0))) throw new SyntaxError();
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (!isObject(value)) return String(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${quote(name)}:${canonical(value[name])}`).join(",")}}`;
}

function parse(text) {
  try {
    const value = JSON.parse(text);
    if (canonical(value) === text) return value;
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error; // the latter: nested too deeply
  }
  throw new Flaw("entry-not-canonical");
}

// Values
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const matches = (pattern) => (value) => typeof value === "string" && pattern.test(value);
const optional = (kind) => (value) => value === null || kind(value);
const integer = (least) => (value) => Number.isSafeInteger(value) && value >= least;
const hash = matches(/^[0-9a-f]{64}$/);
const name = matches(/^[A-Za-z0-9._/+-]{1,80}$/);
const base64 = (length) => (value) => {
  const bytes = Buffer.from(typeof value === "string" ? value : "", "base64");
  return bytes.length === length && bytes.toString("base64") === value;
};
const [key, signature] = [base64(32), base64(64)];

function plain(number) {
  const [, digits, rest = "", exponent = "0"] = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(number));
  const point = digits.length + Number(exponent);
  const whole = Math.max(point, 1);
  const all = ("0".repeat(whole - point) + digits + rest).padEnd(whole, "0");
  return all.length > whole ? `${all.slice(0, whole)}.${all.slice(whole)}` : all;
}
const decimal = (value) =>
  matches(/^(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$/)(value) && value.length <= 400 &&
  Number.isFinite(Number(value)) && Number(value) > 0 && plain(Number(value)) === value;

const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b));
const fraction = (value) =>
  Array.isArray(value) && value.length === 2 && value.every(integer(1)) && divisor(...value) === 1;

const shaped = (fields) => (value) =>
  isObject(value) && Object.keys(value).length === Object.keys(fields).length &&
  Object.entries(fields).every(([field, kind]) => Object.hasOwn(value, field) && kind(value[field]));

const noise = { type: name, noise_multiplier: decimal, steps: integer(1) };
const MECHANISMS = {
  "poisson-gaussian": { ...noise, sample_rate: (value) => fraction(value) && value[0] <= value[1] },
  gaussian: noise, laplace: noise, "discrete-laplace": noise,
  unprotected: { type: name, steps: integer(1) },
};
const known = (table, type) => typeof type === "string" && Object.hasOwn(table, type);
const mechanism = (value) => known(MECHANISMS, value?.type) && shaped(MECHANISMS[value.type])(value);

const place = { run: name, round: integer(1) };
const closing = { ...place, reserve: integer(1) };
const data = { num_examples: integer(1), commitment: hash };
const ENTRIES = {
  GENESIS: {
    ...data, ledger_id: hash, public_key: key, adjacency: matches(/^zero-out$/),
    delta: (value) => decimal(value) && Number(value) < 1,
    budget_epsilon: optional(decimal),
    filter_order: optional((value) => decimal(value) && Number(value) > 1),
  },
  AMEND: data,
  RESERVE: {
    ...place, purpose: name, max_grad_norm: optional(decimal), normaliser: fraction, sampler: name,
    mechanisms: (value) => Array.isArray(value) && value.length > 0 && value.every(mechanism),
    noise_source: matches(/^(chacha20|reproducible|none)$/),
    input_model: hash, server_nonce: hash, code_digest: hash,
    libraries: (value) => isObject(value) && Object.entries(value).flat().every(name),
  },
  RELEASE: { ...closing, update: hash },
  ABORT: { ...closing, reason: name },
  RECEIPT: {
    release: integer(1), signature, checkpoint: shaped({ root: hash, signature, size: integer(1) }),
    receipt: shaped({
      ...place, origin: matches(/^[a-z0-9][a-z0-9./-]{0,79}$/), server_key: key, index: integer(0),
      ledger_id: hash, sequence: integer(1), entry: hash,
    }),
  },
  KEY_ROTATE: { public_key: key, proof: signature },
};

function wellFormed({ format, sequence, previous, type, ...fields }) {
  if (!known(ENTRIES, type) || !shaped(ENTRIES[type])(fields)) return false;
  return type !== "GENESIS" || fields.filter_order === null || fields.budget_epsilon !== null;
}

// Signatures
function holds(publicKey, message, signed) {
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(publicKey, "base64")]);
  const loaded = createPublicKey({ key: der, format: "der", type: "spki" });
  return verify(null, Buffer.from(message), loaded, Buffer.from(signed, "base64"));
}
function signs(publicKey, kind, payload, signed) {
  const type = `application/vnd.fedledger.${kind}+json`; // all is ASCII, so letters are bytes
  return holds(publicKey, `DSSEv1 ${type.length} ${type} ${payload.length} ${payload}`, signed);
}

// Ledgers
function take(line, { entries, hashes, open, unconfirmed, keys }) {
  const [, payload, signed] = /^\{"entry":(\{.*\}),"signature":"([^"]*)"\}$/.exec(line) ?? [];
  require(payload !== undefined, "entry-not-canonical");
  const entry = parse(payload);
  const [number, previous] = [entries.length, hashes.at(-1) ?? "0".repeat(64)];
  const chained = entry.sequence === number && entry.previous === previous;
  require(chained && entry.format === "fedledger/1", "chain-broken");
  require(wellFormed(entry), "entry-malformed");
  require(signature(signed), "signature-wrong");
  require((entry.type === "GENESIS") === (number === 0), "entry-out-of-order");
  if (entry.type === "GENESIS") keys.push(entry.public_key);
  const signer = keys.at(-1);
  CHECKS[entry.type]?.(entry, { entries, hashes, open, unconfirmed, keys, number });
  require(signs(signer, "entry", payload, signed), "signature-wrong");
  entries.push(entry);
  hashes.push(createHash("sha256").update(line).digest("hex"));
}

function close({ reserve, run, round }, { open }) {
  require(open.get(reserve)?.run === run && open.get(reserve)?.round === round, "entry-out-of-order");
  open.delete(reserve);
}

const CHECKS = {
  RESERVE: (entry, { open, number }) => open.set(number, entry),
  ABORT: close,
  RELEASE: (entry, state) => {
    close(entry, state);
    state.unconfirmed.add(state.number);
  },
  RECEIPT: ({ release, receipt, signature, checkpoint }, { entries, hashes, unconfirmed }) => {
    require(unconfirmed.delete(release), "entry-out-of-order");
    const { run, round } = entries[release];
    const due = { run, round, ledger_id: entries[0].ledger_id, sequence: release, entry: hashes[release] };
    const same = Object.entries(due).every(([field, value]) => receipt[field] === value);
    const signed = signs(receipt.server_key, "receipt", canonical(receipt), signature);
    require(same && signed && checkpoint.size > receipt.index, "receipt-wrong");
  },
  KEY_ROTATE: ({ public_key, proof, sequence }, { entries, keys }) => {
    const change = canonical({ ledger_id: entries[0].ledger_id, sequence });
    require(signs(public_key, "key", change, proof), "signature-wrong");
    keys.push(public_key);
  },
};

function confirmed({ type, receipt, checkpoint }) {
  if (type !== "RECEIPT") return true;
  const root = Buffer.from(checkpoint.root, "hex").toString("base64");
  return holds(receipt.server_key, `${receipt.origin}\n${checkpoint.size}\n${root}\n`, checkpoint.signature);
}

function verifyLedger(bytes) {
  if (bytes.at(-1) !== 10) return { flaw: "ledger-torn", entry: null };
  const odd = bytes.findIndex((byte) => byte > 127);
  if (odd >= 0) return { flaw: "entry-not-canonical", entry: bytes.subarray(0, odd).filter((b) => b === 10).length };
  const state = { entries: [], hashes: [], open: new Map(), unconfirmed: new Set(), keys: [] };
  try {
    for (const line of bytes.toString("latin1").slice(0, -1).split("\n")) take(line, state);
  } catch (error) {
    if (!(error instanceof Flaw)) throw error;
    return { flaw: error.message, entry: state.entries.length };
  }
  const forged = state.entries.findIndex((entry) => !confirmed(entry));
  if (forged >= 0) return { flaw: "receipt-wrong", entry: forged };
  return { flaw: null, entry: null, entries: state.entries.length, head: state.hashes.at(-1) };
}

for (const file of process.argv.slice(2)) {
  const found = verifyLedger(readFileSync(file));
  console.log(JSON.stringify({ file, ...found }));
  if (found.flaw) process.exitCode = 1;
}
