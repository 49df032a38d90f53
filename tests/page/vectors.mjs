// Opens every golden envelope with the page's own code; prints each outcome as JSON.
// node vectors.mjs VECTORS BUNDLE
import fs from "node:fs";
const [folder, code] = process.argv.slice(2);
const { Decrypter, bytes, envelope, identityToRecipient } = await import(code);
const index = JSON.parse(fs.readFileSync(`${folder}/index.json`));
const each = (fields, work) => Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, work(value)]));
const devices = each(index.devices, (text) => [{ key: bytes.parseDeviceKey(text), lastSeq: null }]);
const owners = each(index.owners, (text) => [text].flat().map(bytes.ownerId));
const found = {};
for (const { file, identity } of index.envelopes) {
  const data = new Uint8Array(fs.readFileSync(`${folder}/${file}`));
  const secret = fs.readFileSync(`${folder}/${identity}`, "utf8").match(/AGE-SECRET-KEY-1[0-9A-Z]+/)[0];
  const key = { okey: bytes.ownerId(await identityToRecipient(secret)), decrypt(sealed) {
    const decrypter = new Decrypter();
    decrypter.addIdentity(secret);
    return decrypter.decrypt(sealed);
  } };
  const outcome = await envelope.openEnvelope(data, [key], devices, owners).then(() => "ok", (error) =>
    error instanceof envelope.NotForYou ? "not-for-you" : error instanceof envelope.BadEnvelope ? "bad-envelope" : String(error.stack));
  let archive = true;
  try { envelope.verifyEnvelope(data, devices, owners); } catch { archive = false; }
  found[file] = { outcome, archive };
}
console.log(JSON.stringify(found));
