"use strict";
// What every page has: its data, and words and numbers in the language that the reader chose. `wording.py` does the same.
const emolake = {
  data: JSON.parse(document.getElementById("data").textContent),
  catalogues: JSON.parse(document.getElementById("catalogues").textContent),
  listeners: [],
};
emolake.language = emolake.data.language;

emolake.formats = (() => {
  const decimal = (places) => (value) => new Intl.NumberFormat(emolake.language, {
    minimumFractionDigits: places, maximumFractionDigits: places, signDisplay: "negative",
  }).format(value);
  const signed = (value) => {
    const rounded = Math.round(10 * value) / 10;
    return (rounded > 0 ? "+" : rounded < 0 ? "−" : "±") + decimal(1)(Math.abs(value));
  };
  const percentSign = () => (emolake.language === "de" ? "\u00a0%" : "%");
  return {
    text: String,
    date: String,
    day: (value) => value.slice(5).replaceAll("-", "\u2011"),
    number: (value) => decimal(0)(value),
    decimal: (value) => decimal(1)(value),
    hundredths: (value) => decimal(2)(value),
    precise: (value) => decimal(3)(value),
    percent: (value) => decimal(1)(100 * value) + percentSign(),
    points: (value) => signed(100 * value),
    duration: (seconds) => {
      const [size, unit] = seconds < 60 ? [1, "unit_s"] : seconds < 3600 ? [60, "unit_min"] : [3600, "unit_h"];
      return `${decimal(1)(seconds / size)}\u00a0${emolake.word(unit)}`;
    },
    // A place in a recording, in minutes and seconds.
    clock: (seconds) => {
      const tenths = Math.round(10 * seconds);
      return `${Math.floor(tenths / 600)}:${decimal(1)((tenths % 600) / 10).padStart(4, "0")}`;
    },
    // A share with its interval, [share, low, high]; null ends are those of a single recording.
    share: ([share, low, high]) => (share === null ? "–" : low === null
      ? `${emolake.formats.percent(share)} (${emolake.word("no_interval")})`
      : `${emolake.formats.percent(share)} (${decimal(1)(100 * low)}–${decimal(1)(100 * high)})`),
    // A change in percentage points with its interval.
    change: ([change, low, high]) => (change === null ? "–" : low === null
      ? `${emolake.formats.points(change)} (${emolake.word("no_interval")})`
      : emolake.word("points_between", { change, low, high })),
    moment: (moment) => new Date(moment).toISOString().slice(0, 16).replace("T", " "),
    emotion: (emotion) => emolake.word(`emotion_${emotion}`),
    long: String,
    role: (role) => emolake.catalogues[emolake.language][`role_${role}`] ?? role,
    word: (key) => emolake.word(key),
    said: ([key, values]) => emolake.word(key, values),
  };
})();

emolake.formatted = (value, format) => (
  value === null || value === undefined ? "–" : emolake.formats[format || "text"](value)
);

emolake.word = (key, values = {}) => emolake.catalogues[emolake.language][key].replace(
  /\{(\w+)(?::(\w+))?\}/g, (_, name, format) => emolake.formatted(values[name], format),
);

// Say an element again, whose words were said in another language.
emolake.say = (root = document) => {
  for (const element of root.querySelectorAll("[data-word]")) {
    element.textContent = emolake.word(element.dataset.word, JSON.parse(element.dataset.values || "{}"));
  }
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", emolake.word(element.dataset.label));
  }
  for (const element of root.querySelectorAll("data[data-format]")) {
    const format = element.dataset.format;
    element.textContent = emolake.formatted(JSON.parse(element.value), format);
  }
};

// Set an element's words, in whatever language is chosen later.
emolake.tell = (element, key, values = {}) => {
  element.dataset.word = key;
  element.dataset.values = JSON.stringify(values);
  element.textContent = emolake.word(key, values);
  return element;
};

// An element of a value, which is written again when the language changes.
emolake.value = (value, format) => {
  if (value === null || value === undefined) return document.createTextNode("–");
  if (["text", "date", "long"].includes(format)) return document.createTextNode(value);
  const element = document.createElement("data");
  element.value = JSON.stringify(value);
  element.dataset.format = format;
  element.textContent = emolake.formatted(value, format);
  return element;
};

// Give a table other columns, { word or text, format }, and rows. The first column names the row.
emolake.table = (table, columns, rows) => {
  const element = (name, kind, ...children) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    made.append(...children);
    return made;
  };
  const kindOf = ({ format }) => (({ text: "name", long: "long", role: "", date: "nowrap", moment: "nowrap", word: "", emotion: "", said: "" })[format] ?? "n");
  const head = columns.map((column) => {
    const cell = element("th", kindOf(column));
    cell.scope = "col";
    return column.word ? emolake.tell(cell, column.word) : (cell.append(column.text), cell);
  });
  const body = rows.map((row) => element("tr", "", ...row.map((value, place) => {
    const cell = element(place ? "td" : "th", kindOf(columns[place]), emolake.value(value, columns[place].format));
    if (!place) cell.scope = "row";
    return cell;
  })));
  table.tHead.replaceChildren(element("tr", "", ...head));
  table.tBodies[0].replaceChildren(...body);
};

// Call a function whenever the language or the appearance was changed.
emolake.onChange = (listener) => emolake.listeners.push(listener);

document.getElementById("language").addEventListener("change", (event) => {
  emolake.language = event.target.value;
  document.documentElement.lang = emolake.language;
  emolake.say();
  emolake.listeners.forEach((listener) => listener());
});
document.getElementById("appearance").addEventListener("change", (event) => {
  document.documentElement.dataset.appearance = event.target.value;
  emolake.listeners.forEach((listener) => listener());
});
for (const element of document.querySelectorAll(".with-scripts")) element.hidden = false;
