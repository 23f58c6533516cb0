// Builds elements. Text goes in as text nodes only: nothing in this page turns a string into markup.

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  check: "m5 10.5 3.5 3.5L15.5 6.5",
  copy: "M7.5 7.5h8v8h-8zM4.5 12.5v-8h8",
  cross: "m5.5 5.5 9 9M14.5 5.5l-9 9",
  down: "M6.5 3.5h8.3l1.4 6.4a1.3 1.3 0 0 1-1.3 1.6h-3.6v3.3a1.7 1.7 0 0 1-1.7 1.7L6.5 10.5zM6.5 3.5v7h-3v-7z",
  info: "M10 9.2v4.6M10 6.4v.2M10 17.2a7.2 7.2 0 1 0 0-14.4 7.2 7.2 0 0 0 0 14.4z",
  layers: "m10 3.5 7 3.7-7 3.7-7-3.7zM3.5 10.6l6.5 3.5 6.5-3.5M3.5 13.8l6.5 3.4 6.5-3.4",
  retry: "M15.8 8.2A6.2 6.2 0 1 0 16.2 11M16.4 4.2v4.2h-4.2",
  trash: "M4 6h12M8 6V4h4v2M5.5 6l.8 10.2h7.4L14.5 6M8.6 8.8v4.8M11.4 8.8v4.8",
  up: "M6.5 16.5h8.3l1.4-6.4a1.3 1.3 0 0 0-1.3-1.6h-3.6V5.2a1.7 1.7 0 0 0-1.7-1.7L6.5 9.5zM6.5 16.5v-7h-3v7z",
  warn: "M10 7.5v4M10 14v.2M10 3 17.6 16.5H2.4z",
};

/** Return the element of an id that the page has. */
export function byId(id) {
  return document.getElementById(id);
}

/** Return a new element: attributes by name (null and false are left out), then children, strings becoming text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Return a small drawing that screen readers skip. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** Return a button with words on it. */
export function textButton(words, look, act, drawing) {
  const button = make("button", { type: "button", class: look }, drawing ? icon(drawing) : null, make("span", {}, words));
  button.addEventListener("click", act);
  return button;
}

/** Return a button with words on it that sends its form. */
export function submitButton(words, look) {
  return make("button", { type: "submit", class: look }, make("span", {}, words));
}

/** Return a button with a drawing on it, and words for those who do not see it. */
export function iconButton(drawing, words, act, look = "tool icon-only") {
  const button = make("button", { type: "button", class: look, "aria-label": words, title: words }, icon(drawing));
  button.addEventListener("click", act);
  return button;
}

/** Set a length between 0 and 1 that the style sheet draws. */
export function share(element, value) {
  element.style.setProperty("--share", Math.max(0, Math.min(1, value)).toFixed(4));
  return element;
}

let told = 0;

/** Tell those who listen to the page, politely. */
export function say(words) {
  clearTimeout(told);
  const status = byId("status");
  status.textContent = "";
  told = setTimeout(() => (status.textContent = words), 60); // the same words twice are two announcements
}
