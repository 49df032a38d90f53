// Reads changed files with the page's own code; prints one outcome a line: what was read, or the kind of error.
// node mutants.mjs BUNDLE KEYS FILE …, where KEYS is JSON: {devices, owners}
import fs from "node:fs";

const [bundle, keys, ...files] = process.argv.slice(2);
const { bytes, envelope, flac } = await import(bundle);
const { devices, owners } = JSON.parse(keys);
const trusted = Object.fromEntries(Object.entries(devices).map(([name, text]) => [name, [{ key: bytes.parseDeviceKey(text), lastSeq: null }]]));
const known = Object.fromEntries(Object.entries(owners).map(([name, text]) => [name, [bytes.ownerId(text)]]));
for (const file of files) {
  const data = new Uint8Array(fs.readFileSync(file));
  let outcome;
  try {
    if (file.endsWith(".flac")) {
      const { comment, rate, samples, sound } = flac.readFlac(data);
      outcome = [comment, rate, samples, bytes.hashHex(new Uint8Array(sound.buffer))].join(" ");
    } else outcome = envelope.verifyEnvelope(data, trusted, known).header.clip;
  } catch (error) {
    const isOwn = file.endsWith(".flac") ? error.constructor === Error || error instanceof TypeError && error.code === "ERR_ENCODING_INVALID_ENCODED_DATA" : error instanceof envelope.BadEnvelope;
    outcome = isOwn ? "refused" : String(error.stack);
  }
  console.log(JSON.stringify(outcome));
}
