// Reader of a clip's FLAC file (RFC 9639): its only tag, its length, and a complete check of its samples.
// It accepts the one form that speakers write (docs/reference/envelope.md), so that no player shows or
// plays anything else than what was checked here.
import { md5 } from "@noble/hashes/legacy.js";
import { decodeText, sameBytes } from "./bytes.js";

const MOST_SAMPLES = 60001 * 48;
const BLOCK_SIZES = { 1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608 };
const RATES_HZ = { 4: 8000, 5: 16000, 6: 22050, 7: 24000, 8: 32000, 9: 44100, 10: 48000 };
const RATE_BYTES = { 12: [1, 1000], 13: [2, 1], 14: [2, 10] };
const FIXED = [[], [1], [2, -1], [3, -3, 1], [4, -6, 4, -1]];

const fail = (why) => { throw new Error(why); };

function crcTable(polynomial, bits) {
  const table = new Uint16Array(256), top = 1 << (bits - 1), mask = (1 << bits) - 1;
  for (let byte = 0; byte < 256; byte++) {
    let value = byte << (bits - 8);
    for (let n = 0; n < 8; n++) value = value & top ? ((value << 1) ^ polynomial) & mask : (value << 1) & mask;
    table[byte] = value;
  }
  return table;
}
const CRC8 = crcTable(0x07, 8), CRC16 = crcTable(0x8005, 16);

function crc8(bytes) {
  let value = 0;
  for (const byte of bytes) value = CRC8[value ^ byte];
  return value;
}
function crc16(bytes) {
  let value = 0;
  for (const byte of bytes) value = ((value << 8) & 0xffff) ^ CRC16[(value >> 8) ^ byte];
  return value;
}

class Bits {
  constructor(data, at, end) { this.data = data; this.at = at * 8; this.end = end * 8; }
  take(count) {
    if (this.at + count > this.end) fail("a frame is incomplete");
    let value = 0;
    while (count > 0) {
      const left = 8 - (this.at & 7), used = Math.min(left, count);
      value = value * 2 ** used + ((this.data[this.at >> 3] >> (left - used)) & ((1 << used) - 1));
      this.at += used;
      count -= used;
    }
    return value;
  }
  signed(count) {
    if (count === 0) return 0;
    const value = this.take(count);
    return value >= 2 ** (count - 1) ? value - 2 ** count : value;
  }
  unary() {
    let zeros = 0;
    while (this.take(1) === 0) zeros++;
    return zeros;
  }
}

/** Parse and decode; return {comment, rate, samples, sound}; sound is an Int16Array. Throw for any file that is not of a clip's form. */
export function readFlac(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 8 || view.getUint32(0) !== 0x664c6143) fail("it is not a FLAC file");
  const { about, comment, start } = readBlocks(data, view);
  const at = new DataView(about.buffer, about.byteOffset, about.byteLength);
  const block = at.getUint16(2);
  const rate = at.getUint32(10) >>> 12;
  const channels = ((at.getUint32(10) >>> 9) & 7) + 1, bits = ((at.getUint16(12) >>> 4) & 31) + 1;
  const samples = (at.getUint8(13) & 15) * 2 ** 32 + at.getUint32(14);
  if (channels !== 1 || bits !== 16) fail("it has more than one channel, or not 16 bits");
  if (samples > MOST_SAMPLES) fail("it is longer than a clip can be");
  if (at.getUint16(0) !== block || block < 1024 || block > 16384) fail("its blocks are of several sizes, too short or too long");
  const sound = readFrames(data, start, block, samples, rate);
  const bytes = new Uint8Array(samples * 2), out = new DataView(bytes.buffer);
  sound.forEach((sample, n) => out.setInt16(2 * n, sample, true));
  if (!sameBytes(md5(bytes), about.subarray(18, 34))) fail("its samples differ from their MD5");
  return { comment, rate, samples, sound };
}

function readBlocks(data, view) {
  const blocks = new Map();
  let at = 4, isLast = false;
  while (!isLast) {
    if (at + 4 > data.length) fail("a metadata block is incomplete");
    const head = view.getUint32(at), kind = (head >>> 24) & 127, length = head & 0xffffff;
    isLast = head >>> 31 === 1;
    at += 4 + length;
    if (at > data.length) fail("a metadata block is incomplete");
    if (blocks.has(kind) || ![0, 1, 4].includes(kind)) fail("it has a metadata block that a clip does not have");
    blocks.set(kind, data.subarray(at - length, at));
  }
  const about = blocks.get(0);
  if (about?.length !== 34 || [...blocks.keys()][0] !== 0) fail("it does not begin with a STREAMINFO block");
  if (!blocks.has(4) || (blocks.get(1) ?? []).some(Boolean)) fail("it has no comment, or padding that is not 0");
  return { about, comment: readComment(blocks.get(4)), start: at };
}

function readComment(block) {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const vendor = block.length >= 4 ? view.getUint32(0, true) : 257;
  if (vendor > 256 || block.length < vendor + 12) fail("its only tag is not COMMENT");
  const text = block.subarray(vendor + 12);
  const isOne = view.getUint32(4 + vendor, true) === 1 && view.getUint32(8 + vendor, true) === text.length;
  if (!isOne || !/^comment=$/i.test(String.fromCharCode(...text.subarray(0, 8)))) fail("its only tag is not COMMENT");
  return decodeText(text.subarray(8));
}

function readFrames(data, at, block, samples, rate) {
  const sound = new Int16Array(samples);
  let done = 0;
  for (let number = 0; done < samples; number++) {
    const count = Math.min(block, samples - done);
    const headerBytes = checkHeader(data, at, number, count, rate);
    const end = Math.min(data.length, at + 2 * count + 64);
    const bits = new Bits(data, at + headerBytes, end);
    readSubframe(bits, sound.subarray(done, done + count));
    const size = bits.at / 8 - at;
    if (at + size + 2 > end || crc16(data.subarray(at, at + size)) !== ((data[at + size] << 8) | data[at + size + 1])) fail("a frame is damaged");
    at += size + 2;
    done += count;
  }
  if (at !== data.length) fail("there are bytes behind the last frame");
  return sound;
}

function checkHeader(data, start, number, count, rate) {
  const byte = (at) => data[start + at] ?? fail("a frame is incomplete");
  const blockCode = byte(2) >> 4, rateCode = byte(2) & 15;
  const coded = codeNumber(number);
  let at = 4;
  for (const one of coded) if (byte(at++) !== one) fail("the number of a frame does not match its place");
  const read = (bytes) => { let value = 0; while (bytes-- > 0) value = value * 256 + byte(at++); return value; };
  const more = { 6: 1, 7: 2 }[blockCode];
  const size = more ? read(more) + 1 : blockCode >= 8 ? 256 << (blockCode - 8) : BLOCK_SIZES[blockCode];
  const unit = RATE_BYTES[rateCode];
  const named = unit ? read(unit[0]) * unit[1] : RATES_HZ[rateCode];
  const isRight = byte(0) === 0xff && byte(1) === 0xf8 && size === count && (rateCode === 0 || named === rate)
    && byte(3) >> 4 === 0 && [0, 4].includes((byte(3) >> 1) & 7) && (byte(3) & 1) === 0;
  if (!isRight || crc8(data.subarray(start, start + at)) !== byte(at)) fail("the header of a frame does not match its place");
  return at + 1;
}

/** A frame's number in the coding of UTF-8; clips have fewer than 2^16 frames. */
function codeNumber(n) {
  if (n < 0x80) return [n];
  if (n < 0x800) return [0xc0 | (n >> 6), 0x80 | (n & 63)];
  return [0xe0 | (n >> 12), 0x80 | ((n >> 6) & 63), 0x80 | (n & 63)];
}

function readSubframe(bits, out) {
  if (bits.take(1)) fail("a subframe begins with a bit that is not 0");
  const kind = bits.take(6);
  const wasted = bits.take(1) ? bits.unary() + 1 : 0, depth = 16 - wasted;
  if (depth < 1) fail("a subframe has no bits left");
  const values = new Float64Array(out.length);
  if (kind === 0) values.fill(bits.signed(depth));
  else if (kind === 1) for (let n = 0; n < values.length; n++) values[n] = bits.signed(depth);
  else if (kind >= 8 && kind <= 12) {
    const order = kind - 8;
    readWarmUp(bits, values, order, depth);
    readResidual(bits, values, order);
    predict(values, FIXED[order], 0);
  } else if (kind >= 32) {
    const order = kind - 31;
    readWarmUp(bits, values, order, depth);
    const precision = bits.take(4) + 1;
    if (precision > 15) fail("a subframe has a reserved precision");
    const shift = bits.signed(5);
    if (shift < 0) fail("a subframe has a negative shift");
    const weights = Array.from({ length: order }, () => bits.signed(precision));
    readResidual(bits, values, order);
    predict(values, weights, shift);
  } else fail("a subframe is of a reserved type");
  if (bits.take((8 - (bits.at & 7)) & 7)) fail("the padding of a frame is not 0");
  for (let n = 0; n < out.length; n++) {
    const sample = values[n] * 2 ** wasted;
    if (sample < -32768 || sample > 32767) fail("a sample has more than 16 bits");
    out[n] = sample;
  }
}

function readWarmUp(bits, values, order, depth) {
  if (order > values.length) fail("a subframe is shorter than its predictor");
  for (let n = 0; n < order; n++) values[n] = bits.signed(depth);
}

function readResidual(bits, values, order) {
  const method = bits.take(2);
  if (method > 1) fail("a subframe has a reserved residual");
  const partitions = 1 << bits.take(4), each = values.length / partitions;
  if (!Number.isInteger(each) || each < order) fail("a subframe has partitions that do not fit");
  let n = order;
  for (let partition = 1; partition <= partitions; partition++) {
    const parameter = bits.take(4 + method), end = partition * each;
    if (parameter === (1 << (4 + method)) - 1) {
      const width = bits.take(5);
      while (n < end) values[n++] = bits.signed(width);
      continue;
    }
    for (; n < end; n++) {
      const code = bits.unary() * 2 ** parameter + bits.take(parameter);
      values[n] = code % 2 ? -(code + 1) / 2 : code / 2;
    }
  }
}

function predict(values, weights, shift) {
  const order = weights.length, scale = 2 ** shift;
  for (let n = order; n < values.length; n++) {
    let sum = 0;
    for (let k = 0; k < order; k++) sum += weights[k] * values[n - 1 - k];
    values[n] += Math.floor(sum / scale);
  }
}
