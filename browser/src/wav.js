// Samples as a WAV file. Some browsers do not play a FLAC file whose frames leave the rate to the file's head,
// as those of speakers do; the samples are decoded for their check anyway.
export function makeWav(sound, rate) {
  const bytes = new Uint8Array(44 + 2 * sound.length), view = new DataView(bytes.buffer);
  const word = (at, text) => [...text].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  word(36, "data");
  view.setUint32(40, 2 * sound.length, true);
  sound.forEach((sample, n) => view.setInt16(44 + 2 * n, sample, true));
  return bytes;
}
