// The owner who is at this page: their keys, the keys that they trust, and what this browser keeps of both.
import { trustedDevices } from "./card.js";
import { canBeKept, fromStored, importIdentity, storedForm, unlockWithPasskey } from "./identity.js";
import { ownerId } from "./bytes.js";
import * as store from "./store.js";

const KEPT = "owner";

export class Owner {
  constructor({ name, identities, speakers, archive }) {
    this.name = name;
    this.identities = identities;
    this.speakers = speakers;
    this.archive = archive;
    this.heads = [];
    this.consents = {};
  }

  /** Make an owner of a key card. */
  static async fromCard(card, name, start) {
    const identities = [];
    for (const secret of card.secrets) identities.push(await importIdentity(secret));
    card.secrets.length = 0;
    return new Owner({ name, identities, ...mergeTrust(card, start) });
  }

  get devices() {
    return trustedDevices(this.speakers);
  }

  get owners() {
    return { [this.name]: this.identities.map((one) => ownerId(one.recipient)) };
  }

  get speakerNames() {
    return [...new Set(this.speakers.map((one) => one.name))].sort();
  }

  /** The key in use of each speaker; retired ones have a last number. */
  get speakersInUse() {
    return this.speakers.filter((one) => one.last_seq === null);
  }

  addSpeaker(speaker) {
    if (!this.speakers.some((one) => one.name === speaker.name && one.key === speaker.key)) this.speakers.push(speaker);
  }
}

/** Join what the owner's card says with what their own computer has pinned. */
export function mergeTrust(card, start) {
  const speakers = [...card.speakers];
  for (const one of start.speakers) if (!speakers.some((other) => other.name === one.name && other.key === one.key)) speakers.push(one);
  return { archive: start.archive ?? card.archive, speakers };
}

export const canKeep = (owner) => owner.identities.every(canBeKept);

/** Keep the keys as keys that cannot be exported. */
export const keep = (owner) => store.write("kept", KEPT, {
  name: owner.name, identities: owner.identities.map(storedForm), speakers: owner.speakers, archive: owner.archive,
});

export const keepWithPasskey = (owner, { passkey, locked }) =>
  store.write("kept", KEPT, { name: owner.name, passkey, locked, speakers: owner.speakers, archive: owner.archive });

/** Return what is kept, or undefined. */
export const readKept = () => store.read("kept", KEPT);
export const forget = () => store.remove("kept", KEPT);

/** Write changed trust to what is kept, if anything is. */
export async function updateKept(owner) {
  const kept = await readKept();
  if (kept?.name === owner.name) await store.write("kept", KEPT, { ...kept, speakers: owner.speakers, archive: owner.archive });
}

/** Make the owner of what is kept; a passkey must be shown for it if one locks the keys. */
export async function openKept(kept, start, parseCard) {
  const trust = mergeTrust({ speakers: kept.speakers, archive: kept.archive }, start);
  if (kept.locked) {
    const owner = await Owner.fromCard(parseCard(await unlockWithPasskey(kept)), kept.name, start);
    return Object.assign(owner, mergeTrust({ speakers: [...kept.speakers, ...owner.speakers], archive: kept.archive }, start));
  }
  return new Owner({ name: kept.name, identities: kept.identities.map(fromStored), ...trust });
}
