// Loads the reader and the writer of QR codes, once one is wanted.
export const loadCodes = () => import("./qr-reader.js");
