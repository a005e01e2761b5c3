"use strict";
// Charts by Observable Plot. Each has a place, a text that says what it shows, and a function of a width in pixels.
(() => {
  const charts = new Map();

  const draw = (place) => {
    const { label, plot, drawn } = charts.get(place);
    const width = Math.floor(place.clientWidth);
    if (!width || drawn === width) return;
    const chart = plot(width);
    charts.get(place).drawn = width;
    if (chart === null) return place.replaceChildren();
    chart.setAttribute("role", "img");
    chart.setAttribute("aria-label", label());
    // Marks name themselves, which says nothing inside an image.
    for (const mark of chart.querySelectorAll("[aria-label]")) mark.removeAttribute("aria-label");
    place.replaceChildren(chart);
  };

  const watched = new ResizeObserver((entries) => entries.forEach((entry) => draw(entry.target)));

  // Show a chart in an element, now and whenever its width, the language or the appearance changes.
  emolake.chart = (place, label, plot) => {
    charts.set(place, { label, plot, drawn: null });
    draw(place);
    watched.observe(place);
  };

  emolake.onChange(() => {
    for (const [place, chart] of charts) {
      chart.drawn = null;
      draw(place);
    }
  });

  // Options that all charts share; `className` is that of the style whose hash is in the page's policy.
  emolake.plot = (width, options) => Plot.plot({
    className: "plot", width, marginLeft: 44, marginRight: 12, marginTop: 16, marginBottom: 28, ...options,
  });

  // How the note at the pointer looks.
  emolake.tip = { fill: "var(--card)", stroke: "var(--line)", lineHeight: 1.4, textPadding: 9 };

  // The colour of an emotion, by a property that report's styles set for each appearance.
  emolake.colour = (emotion) => `var(--emotion-${emotion})`;

  // A square of a colour, beside the name that it stands for.
  emolake.swatch = (colour) => {
    const svg = d3.create("svg:svg").attr("viewBox", "0 0 10 10").attr("aria-hidden", "true");
    svg.append("rect").attr("width", 10).attr("height", 10).attr("rx", 2).attr("fill", colour);
    return svg.node();
  };

  // The ticks of days: no more than fit, the first and the last among them.
  emolake.dayTicks = (first, last, width) => {
    const days = Math.round((last - first) / 86400000);
    const most = Math.max(1, Math.min(days, Math.floor(width / 80)));
    const step = Math.max(1, Math.ceil(days / most));
    return d3.range(0, days + 1, step).map((day) => new Date(first.getTime() + day * 86400000));
  };
  emolake.dayLabel = (day) => d3.utcFormat("%m-%d")(day);
})();
