"use strict";
// The filters, and the sections that are not in sections.js.
(() => {
  const { data, sections, figures, word, formatted } = emolake;
  const { at, table, made, legend, pool, emotionsOf, subject, nameOf, colourOf, roleWord, days, dayBefore, atAxis, asPercent, asList } = sections;
  const last = (data.periods || []).length - 1;
  const fresh = () => ({ model: 0, group: 0, role: 0, emotion: null, first: 0, last, reason: null });
  let state = fresh();

  for (const details of document.querySelectorAll("details.behind")) details.open = false;
  // Of what the filters leave, a phone shows more without them.
  const narrow = matchMedia("(max-width: 40rem)");
  if (at("filter-box")) {
    at("filter-box").open = !narrow.matches;
    narrow.addEventListener("change", () => { at("filter-box").open = !narrow.matches; });
  }

  function hours() {
    if (!table("hours")) return;
    const emotion = subject(state, emotionsOf(state, pool(state)));
    const isOfGroup = !state.group || Object.keys(data.hours).some((key) => key.split(" ")[1] !== "0");
    const own = data.hours[`${state.model} ${isOfGroup ? state.group : 0} ${state.role}`] || [];
    const note = at("hours-note");
    const isWhole = state.first === 0 && state.last === last;
    note.hidden = isOfGroup && (isWhole || own.every(([period]) => period >= 0));
    if (!note.hidden) emolake.tell(note, isOfGroup ? "hours_of_range" : "hours_of_all");
    const seconds = d3.rollup(
      own.filter(([period]) => period < 0 || (period >= state.first && period <= state.last)),
      (rows) => ({ all: d3.sum(rows, (row) => row[4]), own: d3.sum(rows, (row) => (row[3] === emotion ? row[4] : 0)) }),
      (row) => row[2], (row) => row[1],
    );
    const shareOf = (hour, weekday) => {
      const found = seconds.get(hour)?.get(weekday);
      return found && found.all >= 60 ? found.own / found.all : null;
    };
    const shown = d3.sort(seconds.keys());
    emolake.tell(at("hours"), "hours_of", { emotion: data.emotions[emotion] });
    emolake.table(table("hours"), [
      { word: "hour", format: "text" }, ...d3.range(1, 8).map((weekday) => ({ word: `weekday_${weekday}`, format: "percent" })),
    ], shown.map((hour) => [`${String(hour).padStart(2, "0")}:00`, ...d3.range(1, 8).map((weekday) => shareOf(hour, weekday))]));
    const cells = shown.flatMap((hour) => d3.range(1, 8).map((weekday) => ({ hour, weekday, share: shareOf(hour, weekday) })))
      .filter((cell) => cell.share !== null);
    const most = d3.max(cells, (cell) => cell.share) || 0.01, least = Math.min(d3.min(cells, (cell) => cell.share) ?? 0, most);
    const colour = (share) => `color-mix(in oklab, var(--heat-high) ${Math.round(100 * (share - least) / Math.max(most - least, 1e-9))}%, var(--heat-low))`;
    const ramp = at("ramp-hours");
    ramp.hidden = !cells.length;
    ramp.replaceChildren(formatted(least, "percent"), gradient(), formatted(most, "percent"));
    emolake.chart(at("chart-hours"), () => word("hours_of", { emotion: data.emotions[emotion] }), (width) => (cells.length ? emolake.plot(width, {
      height: 230, marginLeft: sections.roomFor(d3.range(1, 8).map((weekday) => word(`weekday_${weekday}`)), width), marginTop: 4,
      x: { type: "band", domain: d3.range(d3.min(shown), d3.max(shown) + 1), label: null, padding: 0.06, tickSize: 0,
        tickFormat: (hour) => (width > 460 || hour % 3 === 0 ? String(hour) : "") },
      y: { type: "band", domain: d3.range(1, 8), label: null, padding: 0.06, tickSize: 0, tickFormat: (weekday) => word(`weekday_${weekday}`) },
      marks: [
        Plot.cell(cells, { x: "hour", y: "weekday", rx: 3, fill: { value: (cell) => colour(cell.share), scale: null } }),
        Plot.tip(cells, Plot.pointer({
          x: "hour", y: "weekday", ...emolake.tip,
          title: (cell) => `${word(`weekday_${cell.weekday}`)}, ${cell.hour}:00\n${nameOf(emotion)}: ${formatted(cell.share, "percent")}`,
        })),
      ],
    }) : null));
  }

  function gradient() {
    const svg = d3.create("svg:svg").attr("viewBox", "0 0 100 8").attr("preserveAspectRatio", "none").attr("aria-hidden", "true");
    for (const step of d3.range(10)) {
      svg.append("rect").attr("x", 10 * step).attr("width", 10.2).attr("height", 8)
        .attr("fill", `color-mix(in oklab, var(--heat-high) ${step * 11.1}%, var(--heat-low))`);
    }
    return svg.node();
  }

  function values() {
    const place = at("dimensions");
    if (!place) return;
    const emotions = emotionsOf(state, pool(state));
    const emotion = subject(state, emotions);
    emolake.tell(at("values"), "by_dimension_of", { emotion: data.emotions[emotion] });
    const found = data.groups.map(([dimension, value], group) => ({ dimension, value: value || "(–)", sums: pool(state, { group }) }))
      .filter((each) => each.dimension && each.sums.seconds)
      .map((each) => ({ ...each, ...figures.share(each.sums, emotion) }));
    found.sort((a, b) => d3.ascending(a.dimension, b.dimension) || b.share - a.share);
    emolake.table(table("values"), [
      { word: "dimension", format: "text" }, { word: "value", format: "text" }, { word: "recordings", format: "number" },
      ...emotions.map((each) => ({ word: `emotion_${data.emotions[each]}`, format: "share" })),
    ], found.map((each) => [each.dimension, each.value, each.sums.recordings, ...emotions.map((one) => asList(figures.share(each.sums, one)))]));
    const whole = figures.share(pool(state, { group: 0 }), emotion);
    place.replaceChildren(...[...d3.group(found, (each) => each.dimension)].map(([dimension, rows]) => {
      const chart = made("div", { className: "chart" });
      requestAnimationFrame(() => emolake.chart(chart, () => `${nameOf(emotion)}, ${dimension}`, (width) => emolake.plot(width, {
        height: 30 + 26 * rows.length, marginTop: 4, marginLeft: sections.roomFor(rows.map((row) => sections.shortened(row.value)), width),
        x: { ...asPercent, inset: 8, ticks: width < 330 ? 3 : 5 },
        y: { domain: rows.map((row) => row.value), label: null, tickSize: 0, tickFormat: (value) => sections.shortened(value) },
        marks: [
          Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: width < 330 ? 3 : 5 }),
          ...(whole.share === null ? [] : [Plot.ruleX([whole.share], { stroke: "var(--quiet)", strokeDasharray: "3 3" })]),
          Plot.link(rows.filter((row) => row.low !== null), {
            x1: "low", x2: "high", y1: "value", y2: "value", stroke: colourOf(emotion), strokeWidth: 4, strokeOpacity: 0.4, strokeLinecap: "round",
          }),
          Plot.dot(rows, { x: "share", y: "value", r: 4.5, fill: colourOf(emotion) }),
          Plot.tip(rows, Plot.pointerY({
            x: "share", y: "value", ...emolake.tip,
            title: (row) => `${row.value}: ${formatted(asList(row), "share")}\n${word("recordings")}: ${formatted(row.sums.recordings, "number")}`,
          })),
        ],
      })));
      return made("div", {}, made("h3", { textContent: dimension }), chart);
    }));
  }

  function coverage() {
    const found = sections.coverageOf(state);
    const { stages } = data;
    const colours = {
      labelled: "var(--series-2)", no_label: "var(--emotion-boredom)", no_speech: "var(--emotion-other)", held_back: "var(--series-3)",
      not_analysed: "var(--series-1)", quarantined: "var(--bad)", excluded: "var(--line)",
    };
    emolake.table(table("coverage"), [
      { word: "day", format: "date" }, { word: "listed", format: "number" },
      ...stages.map((stage) => ({ word: `stage_${stage}`, format: "number" })), { word: "audio", format: "duration" },
    ], found.map((day) => [day.day, day.listed, ...stages.map((stage) => day.of[stage]), day.audio]));
    const shown = stages.map((stage) => [stage, colours[stage]]).filter(([stage]) => found.some((day) => day.of[stage]));
    legend(at("legend-coverage"), shown.map(([stage, colour]) => [word(`stage_${stage}`), colour]));
    const bars = found.flatMap((day) => shown.map(([stage, colour]) => ({ day: new Date(`${day.day}T00:00:00Z`), stage, colour, recordings: day.of[stage] })));
    const first = days[state.first], end = new Date(`${dayBefore(state.last + 1)}T00:00:00Z`);
    emolake.chart(at("chart-coverage"), () => word("coverage"), (width) => (bars.length ? emolake.plot(width, {
      height: 190,
      x: { type: "utc", label: null, domain: [first, new Date(end.getTime() + 86400000)], ticks: emolake.dayTicks(first, end, width), tickFormat: emolake.dayLabel },
      // Of a few recordings there is no tick between two of them.
      y: { label: null, grid: true, ticks: Math.min(4, d3.max(found, (day) => day.listed)), tickSize: 0, tickFormat: (value) => formatted(value, "number") },
      marks: [
        Plot.rectY(bars, {
          x1: "day", x2: (bar) => new Date(bar.day.getTime() + 86400000), y: "recordings", insetLeft: 1, insetRight: 1,
          fill: { value: "colour", scale: null },
        }),
        Plot.tip(found, Plot.pointerX({
          x: (day) => new Date(new Date(`${day.day}T00:00:00Z`).getTime() + 43200000), y: "listed", ...emolake.tip,
          title: (day) => [day.day, ...shown.map(([stage]) => `${word(`stage_${stage}`)}: ${formatted(day.of[stage], "number")}`)].join("\n"),
        })),
      ],
    }) : null));
  }

  function drift() {
    const place = at("chart-drift");
    if (!place) return;
    const rows = (data.drift || []).map(([moment, model, value]) => ({ moment: new Date(moment), model, value }));
    const models = [...new Set(rows.map((row) => row.model))].slice(0, 4);
    const shown = rows.filter((row) => models.includes(row.model));
    const isShown = new Set(shown.map((row) => +row.moment)).size > 1;
    legend(at("legend-drift"), isShown ? models.map((model, number) => [sections.shortened(model, 30), `var(--series-${number})`]) : []);
    emolake.chart(place, () => word("drift_chart"), (width) => (isShown ? emolake.plot(width, {
      height: 150,
      x: { type: "utc", label: null, ticks: emolake.dayTicks(d3.min(shown, (row) => row.moment), d3.max(shown, (row) => row.moment), width), tickFormat: emolake.dayLabel },
      y: { label: null, zero: true, grid: true, ticks: 4, tickSize: 0, tickFormat: atAxis },
      marks: models.map((model, number) => Plot.lineY(shown.filter((row) => row.model === model), {
        x: "moment", y: "value", stroke: `var(--series-${number})`, strokeWidth: 2, sort: "moment",
      })),
    }) : null));
  }

  function calls() {
    const { reasons } = data;
    const emotionName = state.emotion === null ? null : data.emotions[state.emotion];
    const found = data.calls.filter(([day, model, , role, groups, , , , values]) => (
      model === state.model && day >= data.periods[state.first] && day <= dayBefore(state.last + 1)
      && (!state.role || role === data.roles[state.role]) && (!state.group || groups.includes(state.group))
      && (emotionName === null || values.emotion === emotionName)
    ));
    const bar = at("listen-reasons");
    bar.hidden = false;
    bar.replaceChildren(...[null, ...reasons].map((reason) => {
      const button = made("button", { type: "button", textContent: word(reason || "all_reasons") });
      button.setAttribute("aria-pressed", String(state.reason === reason));
      button.addEventListener("click", () => {
        state.reason = reason;
        calls();
        at("listen-reasons").querySelector('[aria-pressed="true"]').focus();
      });
      return button;
    }));
    const most = 5;
    const of = (reason, number) => found.filter((call) => call[2] === reason).slice(0, number);
    const shown = state.reason ? of(state.reason, most) : reasons.flatMap((reason, place) => of(reason, place ? 1 : 2));
    const list = at("calls");
    list.hidden = false;
    list.replaceChildren(...shown.map(([day, , , role, , name, clock, key, values, second]) => made("li", {},
      made("div", { className: "why", textContent: word(key, values) }),
      made("div", { className: "where", textContent: [day, clock, role && roleWord(role), word("from_second", { at: `${Math.floor(second / 60)}:${String(second % 60).padStart(2, "0")}` })].filter(Boolean).join(" · ") }),
      made("div", { className: "where", textContent: name.replace(/^\w+:\/\/[^/]+\//, "") }),
    )));
    if (!shown.length) list.append(made("li", { textContent: word("no_calls") }));
    emolake.table(table("listen"), [
      { word: "reason", format: "word" }, { word: "why", format: "said" }, { word: "recording", format: "long" },
      { word: "day", format: "date" }, { word: "role", format: "role" },
    ], (state.reason ? of(state.reason, 20) : reasons.flatMap((reason) => of(reason, 5))).map(([day, , reason, role, , name, , key, values]) => (
      [reason, [key, values], name, day, role]
    )));
  }

  function fill(id, options, chosen) {
    const select = at(id);
    const choice = ([value, text]) => made("option", { value, textContent: text });
    select.replaceChildren(...options.map((option) => (
      Array.isArray(option) ? choice(option) : made("optgroup", { label: option.label }, ...option.options.map(choice))
    )));
    select.value = chosen;
    select.closest("label").hidden = select.options.length < 2;
  }

  function filters() {
    fill("filter-model", data.models.map((model, number) => [String(number), model]), String(state.model));
    const groups = d3.groups(data.groups.map(([dimension, value], number) => ({ dimension, value, number })).slice(1), (each) => each.dimension);
    fill("filter-group", [["0", word("all")], ...groups.map(([label, own]) => (
      { label, options: own.map((each) => [String(each.number), each.value || "(–)"]) }
    ))], String(state.group));
    fill("filter-role", data.roles.map((role, number) => [String(number), number ? roleWord(role) : word("all")]), String(state.role));
    const emotions = emotionsOf(state, pool(state));
    fill("filter-emotion", [["", word("all")], ...emotions.map((emotion) => [String(emotion), nameOf(emotion)])], state.emotion === null ? "" : String(state.emotion));
    at("filter-first").value = data.periods[state.first];
    at("filter-last").value = dayBefore(state.last + 1);
  }

  function show() {
    if (data.cells) {
      filters();
      sections.strip(state);
      sections.changes(state);
      sections.roles(state);
      calls();
      sections.trends(state);
      hours();
      values();
    }
    if (data.coverage && table("coverage")) coverage();
    drift();
  }

  if (data.cells) {
    const periodOf = (day) => Math.max(0, d3.bisectRight(data.periods, day) - 1);
    const form = at("filters");
    form.addEventListener("change", (event) => {
      const { id, value } = event.target;
      const of = id.replace("filter-", "");
      if (of === "first" || of === "last") {
        if (value) state[of] = periodOf(value);
        if (state.first > state.last) state[of === "first" ? "last" : "first"] = state[of];
      } else state[of] = of === "emotion" && value === "" ? null : Number(value);
      if (of === "model" && !emotionsOf(state, pool(state)).includes(state.emotion)) state.emotion = null;
      show();
    });
    form.addEventListener("reset", (event) => {
      event.preventDefault();
      state = fresh();
      show();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
  }
  emolake.onChange(show);
  show();
})();
