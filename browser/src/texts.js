// The texts of one language, and dates and numbers in its form.
export const LANGUAGES = ["en", "de", "es", "fr"];
let texts = {}, language = "en", plural = new Intl.PluralRules("en"), hasMore = false;

async function fetchTexts(name) {
  const response = await fetch(`/page/texts.${name}.json`, { cache: "no-store", credentials: "omit" });
  return response.json();
}

/** Choose the first known language of a list such as navigator.languages. */
export function chooseLanguage(wanted) {
  for (const one of wanted) {
    const short = String(one).toLowerCase().split("-")[0];
    if (LANGUAGES.includes(short)) return short;
  }
  return "en";
}

export async function loadTexts(wanted) {
  texts = { ...await fetchTexts(wanted), ...(hasMore ? await fetchTexts(`more.${wanted}`) : {}) };
  language = wanted;
  plural = new Intl.PluralRules(wanted);
  document.documentElement.lang = wanted;
}

/** Load the texts of the further views, too. */
export async function loadMoreTexts() {
  if (hasMore) return;
  Object.assign(texts, await fetchTexts(`more.${language}`));
  hasMore = true;
}

export const currentLanguage = () => language;
export const hasText = (key) => Object.hasOwn(texts, key);

/** Return a text with its {values}. With `n`, a text can have a form for one: KEY.one. */
export function t(key, values = {}) {
  const one = `${key}.one`;
  const found = texts[values.n !== undefined && plural.select(values.n) === "one" && Object.hasOwn(texts, one) ? one : key];
  return (found ?? key).replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === "number" ? new Intl.NumberFormat(language).format(value) : String(value);
  });
}

const format = (options) => (moment) => new Intl.DateTimeFormat(language, options).format(new Date(moment));
export const showDay = format({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
export const showTime = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const showMoment = format({ dateStyle: "medium", timeStyle: "medium" });
export const showNumber = (value, digits) =>
  new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

/** Day of a moment in the browser's time zone, as YYYY-MM-DD. */
export function localDay(moment) {
  const at = new Date(moment);
  return `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`;
}

/** First moment of a local day, or of the day after it, as headers have it. */
export function dayStart(day, after = 0) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + after).toISOString();
}
