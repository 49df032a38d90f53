// In place of @noble/post-quantum/hybrid.js: envelopes have X25519 recipients only.
export const MLKEM768X25519 = undefined;
export const MLKEM768P256 = undefined;
