// Errors of views that are loaded on request, which the page explains.
/** An export that is not what the archive signed. */
export class BadExport extends Error {}
