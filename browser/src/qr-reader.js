// QR codes: read from a picture or the camera, and drawn. Loaded when a code is wanted.
import encodeQR from "qr";
import decodeQR from "qr/decode.js";

const MOST_PIXELS = 1600;
const SCAN_MS = 200;

function decode(source, width, height) {
  const scale = Math.min(1, MOST_PIXELS / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  // The picture may show a secret key: nothing of it stays.
  context.clearRect(0, 0, canvas.width, canvas.height);
  try {
    return decodeQR({ width: pixels.width, height: pixels.height, data: pixels.data });
  } catch {
    return null;
  } finally {
    pixels.data.fill(0);
  }
}

/** Return the text of the QR code in a picture, or null. */
export async function readPicture(file) {
  const bitmap = await createImageBitmap(file);
  try {
    return decode(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

/** Show the camera in a video element until a code is seen or the signal ends it; return its text or null. */
export async function readCamera(video, signal) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  try {
    video.srcObject = stream;
    await video.play();
    while (!signal.aborted) {
      const text = video.videoWidth ? decode(video, video.videoWidth, video.videoHeight) : null;
      if (text !== null) return text;
      await new Promise((resolve) => setTimeout(resolve, SCAN_MS));
    }
    return null;
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  }
}

/** Draw a text as an SVG element, black on white. */
export function drawCode(text, label) {
  const rows = encodeQR(text, "raw", { ecc: "medium", border: 4 });
  const name = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(name, "svg"), path = document.createElementNS(name, "path");
  svg.setAttribute("viewBox", `0 0 ${rows.length} ${rows.length}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  svg.setAttribute("class", "code");
  path.setAttribute("d", rows.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ""))).join(""));
  svg.append(path);
  return svg;
}
