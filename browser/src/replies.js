// Forms of the archive's answers. A field of another form makes the whole answer invalid.
import { CLIP_ID, CURSOR, KEY_ID, PUBLIC_KEY, SHORT_NAME, integer, isMoment, orNull, text } from "./fields.js";
import { Unreachable } from "./archive.js";

const isCount = integer(0, 2 ** 53 - 1);
const CLIP = {
  clip: text(CLIP_ID), device: text(SHORT_NAME), seq: isCount, t: isMoment, ttl_s: isCount, size_bytes: isCount,
  received: isCount, expires: isCount,
};

/** Keep the known fields of an object; newer archives may add others. */
function pick(value, schema) {
  const found = {};
  for (const [name, check] of Object.entries(schema)) {
    if (value === null || typeof value !== "object" || !check(value[name])) throw new Unreachable(`the answer has no valid ${name}`);
    found[name] = value[name];
  }
  return found;
}

const list = (value, most) => {
  if (!Array.isArray(value) || value.length > most) throw new Unreachable("the answer has no valid list");
  return value;
};

export function parseList(fields) {
  const next = fields.next ?? null;
  if (!orNull(text(CURSOR))(next)) throw new Unreachable("the answer has no valid cursor");
  return { clips: list(fields.clips, 1000).map((one) => pick(one, CLIP)), next, quarantined: isCount(fields.quarantined) ? fields.quarantined : 0 };
}

export function parseRetention(fields) {
  const days = fields.days ?? null;
  if (!orNull(isCount)(days)) throw new Unreachable("the answer has no valid number of days");
  return days;
}

const RETIRED = { name: text(SHORT_NAME), key: text(PUBLIC_KEY), retired: isCount };

/** Return {active, speakers: [{name, key, last_seq}]}: what the archive says, which proves nothing. */
export function parseKeys(fields) {
  const { active, devices } = pick(fields, { active: text(KEY_ID), devices: (value) => value !== null && typeof value === "object" });
  const speakers = Object.entries(devices).map(([name, key]) => ({ ...pick({ name, key }, { name: text(SHORT_NAME), key: text(PUBLIC_KEY) }), last_seq: null }));
  for (const one of list(fields.retired_devices ?? [], 2000)) {
    const { name, key } = pick(one, RETIRED);
    const last = one.last_seq ?? null;
    if (!orNull(isCount)(last)) throw new Unreachable("the answer has no valid number");
    speakers.push({ name, key, last_seq: last, is_retired: true });
  }
  return { active, speakers };
}
