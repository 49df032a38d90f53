// The clips that this page has fetched and opened: what is inside each, and the sealed files of the last ones.
import { BadEnvelope, openEnvelope } from "./envelope.js";

const CACHE_BYTES = 24 << 20;

export class OpenedClips {
  constructor(client, owner) {
    this.client = client;
    this.owner = owner;
    /** By clip: {inner} or {error}; small, and kept for all. */
    this.found = new Map();
    this.sealed = new Map();
    this.size = 0;
  }

  has(clip) {
    return this.sealed.has(clip);
  }

  /** Fetch, verify and open one clip of the list; return {inner, flac}. */
  async open(listed) {
    try {
      const data = this.sealed.get(listed.clip) ?? await this.client.requestEnvelope(listed.clip);
      const opened = await openEnvelope(data, this.owner.identities, this.owner.devices, this.owner.owners);
      const { header } = opened;
      if (header.clip !== listed.clip || header.t !== listed.t || header.device !== listed.device) throw new BadEnvelope("list", header.clip);
      this.found.set(listed.clip, { inner: opened.inner });
      this.#keep(listed.clip, data);
      return opened;
    } catch (error) {
      this.found.set(listed.clip, { error });
      throw error;
    }
  }

  drop(clip) {
    this.size -= this.sealed.get(clip)?.length ?? 0;
    this.sealed.delete(clip);
    this.found.delete(clip);
  }

  #keep(clip, data) {
    this.size += data.length - (this.sealed.get(clip)?.length ?? 0);
    // Last in, and so last out.
    this.sealed.delete(clip);
    this.sealed.set(clip, data);
    for (const oldest of this.sealed.keys()) {
      if (this.size <= CACHE_BYTES || oldest === clip) break;
      this.size -= this.sealed.get(oldest).length;
      this.sealed.delete(oldest);
    }
  }
}

