// Fields of JSON objects with their types and ranges, and canonical JSON: one spelling of each value.
export const text = (pattern) => (value) => typeof value === "string" && pattern.test(value);
export const integer = (least, most) => (value) => Number.isSafeInteger(value) && value >= least && value <= most;
export const fraction = (least, most) => {
  const check = (value) => typeof value === "number" && value >= least && value <= most;
  check.isFraction = true;
  return check;
};
export const orNull = (inner) => {
  const check = (value) => value === null || inner(value);
  check.isFraction = inner.isFraction;
  return check;
};

export const SHORT_NAME = /^[a-z0-9-]{1,32}$/;
export const KEY_ID = /^[a-z2-7]{24}$/;
export const SHA256 = /^[0-9a-f]{64}$/;
export const CLIP_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
export const MOMENT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
export const CURSOR = /^[0-9TZ:.-]{24}\/[0-9a-f-]{36}$/;
export const CODE = /^[A-Za-z0-9+/]{43}=$/;
export const PUBLIC_KEY = /^ed25519:[A-Za-z0-9+/]{43}=$/;
export const isMoment = (value) => text(MOMENT)(value) && isCalendarTime(value);

function isCalendarTime(value) {
  const at = new Date(value);
  // Date accepts hour 24, which is the next day.
  return !Number.isNaN(at.getTime()) && at.toISOString() === value;
}

/** Return the object if it has exactly these fields, each of its form; otherwise throw. */
export function checkFields(value, schema) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("not an object");
  for (const name of Object.keys(value)) {
    if (!Object.hasOwn(schema, name)) throw new Error(`the field ${name.slice(0, 16)} is not known`);
  }
  for (const [name, check] of Object.entries(schema)) {
    if (!Object.hasOwn(value, name) || !check(value[name])) throw new Error(`the field ${name} is missing or out of its range`);
  }
  return value;
}

function formatFraction(value) {
  const digits = value.toFixed(4).replace(/0+$/, "");
  return digits === "-0." ? "0.0" : digits.endsWith(".") ? digits + "0" : digits;
}

/** Canonical JSON of nested objects: names sorted, no spaces; only ASCII is expected. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** Parse one object in canonical JSON of these fields; throw for any other text. */
export function parseCanonical(line, schema) {
  const value = checkFields(JSON.parse(line), schema);
  const names = Object.keys(schema).sort();
  const again = names.map((name) => {
    const isFraction = schema[name].isFraction && value[name] !== null;
    return `"${name}":${isFraction ? formatFraction(value[name]) : JSON.stringify(value[name])}`;
  });
  if (`{${again.join(",")}}` !== line) throw new Error("not canonical JSON");
  return value;
}
