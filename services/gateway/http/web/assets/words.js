// Figures and moments as people read them.

const UNITS = ["bytes", "KB", "MB", "GB", "TB"];

/** Return a size such as 1.2 MB. */
export function size(bytes) {
  let power = 0;
  let value = bytes;
  while (value >= 1000 && power < UNITS.length - 1) {
    value /= 1000;
    power += 1;
  }
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

/** Return a count with its noun: 1 page, 2 pages. */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Return a duration such as 84 ms or 1.2 s. */
export function duration(ms) {
  if (ms < 1) return "under 1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** Return how long something may still take, roughly. */
export function left(seconds) {
  return seconds < 90 ? `about ${Math.max(1, Math.round(seconds))} s left` : `about ${Math.round(seconds / 60)} min left`;
}

/** Return a moment as a date, with the time when it is today. */
export function moment(text, now = new Date()) {
  const when = new Date(text ?? "");
  if (Number.isNaN(when.getTime())) return "";
  const time = when.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
  if (when.toDateString() === now.toDateString()) return `today, ${time}`;
  return when.toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}

/** Return a price in USD. */
export function price(usd) {
  if (usd === null || usd === undefined) return "price not known";
  if (usd === 0) return "free";
  return usd < 0.0001 ? "under $0.0001" : `$${usd < 0.01 ? usd.toFixed(4) : usd.toFixed(2)}`;
}

/** Return the kind of a file in a few letters, from its name or its type. */
export function kind(name, type = "") {
  const end = /\.([a-z0-9]{1,5})$/i.exec(name);
  return (end ? end[1] : type.split("/").pop().slice(0, 4) || "file").toUpperCase();
}

/** Return where a passage stands, such as page 12; nothing for a document without pages. */
export function place(page) {
  return page ? `page ${page}` : "";
}
