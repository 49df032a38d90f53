// In place of @noble/curves/nist.js: envelopes have X25519 recipients only.
export const p256 = undefined;
