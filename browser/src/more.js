// What the first view does not need: loaded when the owner opens it.
export { answerSection, makeSection } from "./view_make.js";
export { logView } from "./view_log.js";
export { storageView } from "./view_storage.js";
export { trustView } from "./view_trust.js";
export { voiceView } from "./view_voice.js";
