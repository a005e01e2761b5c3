"use strict";
// What every page has: its data, and words and numbers in the language that the reader chose. `formats.py` does the same.
const emolake = {
  data: JSON.parse(document.getElementById("data").textContent),
  catalogues: JSON.parse(document.getElementById("catalogues").textContent),
  listeners: [],
};
emolake.language = emolake.data.language;

emolake.formats = (() => {
  const decimal = (places) => (value) => new Intl.NumberFormat(emolake.language, {
    minimumFractionDigits: places, maximumFractionDigits: places,
  }).format(value);
  const signed = (value) => {
    const rounded = Math.round(10 * value) / 10;
    return (rounded > 0 ? "+" : rounded < 0 ? "−" : "±") + decimal(1)(Math.abs(value));
  };
  const percentSign = () => (emolake.language === "de" ? "\u00a0%" : "%");
  return {
    text: String,
    date: String,
    number: (value) => decimal(0)(value),
    decimal: (value) => decimal(1)(value),
    precise: (value) => decimal(3)(value),
    percent: (value) => decimal(1)(100 * value) + percentSign(),
    points: (value) => signed(100 * value),
    duration: (seconds) => {
      const [size, unit] = seconds < 60 ? [1, "unit_s"] : seconds < 3600 ? [60, "unit_min"] : [3600, "unit_h"];
      return `${decimal(1)(seconds / size)}\u00a0${emolake.word(unit)}`;
    },
    moment: (moment) => new Date(moment).toISOString().slice(0, 16).replace("T", " "),
    emotion: (emotion) => emolake.word(`emotion_${emotion}`),
    word: (key) => emolake.word(key),
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
    const isText = ["text", "moment", "emotion", "word"].includes(format);
    element.textContent = emolake.formatted(isText ? element.value : Number(element.value), format);
  }
};

// Set an element's words, in whatever language is chosen later.
emolake.tell = (element, key, values = {}) => {
  element.dataset.word = key;
  element.dataset.values = JSON.stringify(values);
  element.textContent = emolake.word(key, values);
  return element;
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
