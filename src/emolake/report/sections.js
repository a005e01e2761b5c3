"use strict";
// What each section shows of a selection: a chart and the table behind it.
emolake.sections = (() => {
  const { data, figures, word, formatted } = emolake;
  const at = (id) => document.getElementById(id);
  const table = (name) => at(`table-${name}`);
  const nameOf = (emotion) => word(`emotion_${data.emotions[emotion]}`);
  const colourOf = (emotion) => emolake.colour(data.emotions[emotion]);
  const roleWord = emolake.formats.role;
  const days = data.periods ? data.periods.map((day) => new Date(`${day}T00:00:00Z`)) : [];
  const made = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  const legend = (place, entries) => {
    place.hidden = entries.length === 0;
    place.replaceChildren(...entries.map(([text, colour]) => made("li", {}, emolake.swatch(colour), text)));
  };

  const pool = (state, with_ = {}) => figures.pooled(figures.cellsOf({ ...state, ...with_ }));
  // A model's emotions in a selection, the commonest first and the folded ones last.
  const emotionsOf = (state, sums) => {
    const given = data.emotions.map((_, emotion) => emotion)
      .filter((emotion) => pool({ ...state, group: 0, role: 0, first: 0, last: data.periods.length - 1 }).of.has(emotion));
    const seconds = (emotion) => sums.of.get(emotion)?.e || 0;
    const isFolded = (emotion) => data.emotions[emotion] === "folded";
    return given.sort((a, b) => isFolded(a) - isFolded(b) || seconds(b) - seconds(a));
  };
  // The emotion that maps and breakdowns are of: the chosen one, or of the hard ones the commonest; `build.py` does the same.
  const subject = (state, emotions) => (
    state.emotion ?? emotions.find((emotion) => data.hard.includes(data.emotions[emotion]))
    ?? emotions.find((emotion) => !data.quiet.includes(data.emotions[emotion])) ?? emotions[0]
  );
  // A number at an axis, with as many decimals as tell it from the next; Plot gives all of them as the third argument.
  const atAxis = (value, _, all) => {
    const step = all.length > 1 ? Math.abs(all[1] - all[0]) : 1;
    const places = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
    return new Intl.NumberFormat(emolake.language, { minimumFractionDigits: places, maximumFractionDigits: places }).format(value);
  };
  const asPercent = { label: null, tickFormat: (...tick) => `${atAxis(...tick)}\u202f%`, percent: true };
  const asList = ({ share, low, high }) => [share, low, high];
  // Room for the longest name at the left of a chart.
  const roomFor = (names, width) => Math.min(width * 0.4, 14 + 7.2 * d3.max(names, (name) => d3.sum(name, (c) => (c > "\u2e80" ? 1.75 : 1))));
  const shortened = (name, most = 22) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);

  function strip(state) {
    const sums = pool(state);
    const mean = (field) => (sums.seconds ? d3.sum(sums.of.values(), (each) => each[field]) / sums.seconds : null);
    const put = (id, value, format) => at(id).replaceChildren(emolake.value(value, format));
    // What was listed, and fell out before it had a label, is known by day and model only.
    const isWhole = !state.group && !state.role;
    const listed = coverageOf(state);
    if (isWhole) at("recordings").replaceChildren(emolake.tell(made("span"), "some_of_all", { some: sums.recordings, all: d3.sum(listed, (day) => day.listed) }));
    else put("recordings", sums.recordings, "number");
    put("speech", sums.seconds, "duration");
    put("uncertain", mean("uncertain"), "percent");
    put("confidence", mean("confidence"), "percent");
    put("unlabelled", sums.segments ? sums.unlabelled / sums.segments : null, "percent");
    put("lost", isWhole ? d3.sum(listed, (day) => day.of.quarantined) : null, "number");
    const few = at("few");
    few.hidden = sums.recordings >= 10;
    emolake.tell(few, sums.recordings ? "few_recordings" : "nothing_selected", { recordings: sums.recordings });
    emolake.tell(at("status"), "selected", { recordings: sums.recordings, speech: sums.seconds });
  }

  function changes(state) {
    const halves = figures.halves(state);
    const note = at("changed-days");
    const emotions = emotionsOf(state, pool(state)).filter((emotion) => state.emotion === null || emotion === state.emotion);
    let rows = [];
    if (halves) {
      const [recent, before] = [halves.recent, halves.before].map(([first, last]) => pool(state, { first, last }));
      rows = emotions.map((emotion) => {
        const [now, then] = [figures.share(recent, emotion), figures.share(before, emotion)];
        return { emotion, now, then, ...figures.change(now, then) };
      }).filter((row) => row.change !== null);
      rows.sort((a, b) => Math.abs(b.change) - Math.abs(a.change));
      const start = (period) => data.periods[period];
      const end = (period) => dayBefore(period + 1);
      emolake.tell(note, rows.length ? "changed_days" : "changed_nothing", {
        recent_first: start(halves.recent[0]), recent_last: end(halves.recent[1]),
        before_first: start(halves.before[0]), before_last: end(halves.before[1]),
      });
    } else emolake.tell(note, "changed_nothing");
    emolake.table(table("changes"), [
      { word: "emotion", format: "emotion" }, { word: "before", format: "share" },
      { word: "recent", format: "share" }, { word: "change", format: "change" },
    ], rows.map((row) => [data.emotions[row.emotion], asList(row.then), asList(row.now), [row.change, row.low, row.high]]));
    const shown = rows.slice(0, 7);
    emolake.chart(at("chart-changes"), () => word("changed"), (width) => {
      if (!shown.length) return null;
      const isClear = (row) => row.low !== null && (row.low > 0 || row.high < 0);
      const labels = new Map(shown.map((row) => [row.emotion, nameOf(row.emotion)]));
      const reach = 1.12 * d3.max(shown, (row) => Math.max(Math.abs(row.low ?? row.change), Math.abs(row.high ?? row.change), 0.01));
      return emolake.plot(width, {
        height: 34 + 46 * shown.length, marginLeft: roomFor([...labels.values()], width), marginRight: 58, marginTop: 4,
        x: { domain: [-reach, reach], label: null, ticks: width < 330 ? 3 : 5, tickFormat: (value) => emolake.formats.points(value).replace(/[.,]0$/, "").replace("±", "") },
        y: { domain: shown.map((row) => row.emotion), label: null, tickFormat: (emotion) => labels.get(emotion), tickSize: 0 },
        marks: [
          Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: width < 330 ? 3 : 5 }),
          Plot.ruleX([0], { stroke: "var(--quiet)" }),
          Plot.link(shown.filter((row) => row.low !== null), {
            x1: "low", x2: "high", y1: "emotion", y2: "emotion", strokeWidth: 4, strokeLinecap: "round", strokeOpacity: 0.45,
            stroke: { value: (row) => (isClear(row) ? colourOf(row.emotion) : "var(--quiet)"), scale: null },
          }),
          Plot.dot(shown, {
            x: "change", y: "emotion", r: 5.5, strokeWidth: 2,
            stroke: { value: (row) => (isClear(row) ? colourOf(row.emotion) : "var(--quiet)"), scale: null },
            fill: { value: (row) => (isClear(row) ? colourOf(row.emotion) : "var(--card)"), scale: null },
          }),
          ...[true, false].map((clear) => Plot.text(shown.filter((row) => isClear(row) === clear), {
            y: "emotion", frameAnchor: "right", dx: 54, textAnchor: "end", fill: "var(--text)", fontSize: 13,
            fontWeight: clear ? 700 : 400, text: (row) => formatted(row.change, "points"),
          })),
          Plot.tip(shown, Plot.pointerY({
            x: "change", y: "emotion", ...emolake.tip,
            title: (row) => `${nameOf(row.emotion)}: ${formatted([row.change, row.low, row.high], "change")}\n${formatted(asList(row.then), "share")} → ${formatted(asList(row.now), "share")}`,
          })),
        ],
      });
    });
  }

  function roles(state) {
    if (!table("roles")) return;
    const sums = pool(state, { role: 0 });
    const emotions = emotionsOf(state, sums).filter((emotion) => state.emotion === null || emotion === state.emotion);
    const found = data.roles.map((role, number) => ({ role, number, sums: pool(state, { role: number }) }))
      .filter((each) => each.number && each.sums.seconds);
    emolake.table(table("roles"), [
      { word: "emotion", format: "emotion" }, ...found.map((each) => ({ text: roleWord(each.role), format: "share" })),
    ], emotions.map((emotion) => [data.emotions[emotion], ...found.map((each) => asList(figures.share(each.sums, emotion)))]));
    const colour = (place) => `var(--series-${place % 4})`;
    const points = emotions.slice(0, 7).flatMap((emotion) => found.map((each, place) => (
      { emotion, place, role: each.role, ...figures.share(each.sums, emotion) }
    )));
    legend(at("legend-roles"), found.map((each, place) => [roleWord(each.role), colour(place)]));
    emolake.chart(at("chart-roles"), () => word("roles"), (width) => (points.length ? emolake.plot(width, {
      height: 34 + 46 * Math.min(emotions.length, 7), marginTop: 4,
      marginLeft: roomFor(emotions.slice(0, 7).map(nameOf), width),
      x: { ...asPercent, zero: true, ticks: width < 330 ? 3 : 5 },
      y: { domain: emotions.slice(0, 7), label: null, tickFormat: nameOf, tickSize: 0 },
      marks: [
        Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: width < 330 ? 3 : 5 }),
        ...found.flatMap((each, place) => {
          const own = points.filter((point) => point.place === place);
          const dy = (place - (found.length - 1) / 2) * (found.length > 2 ? 9 : 13);
          return [
            Plot.link(own.filter((point) => point.low !== null), {
              x1: "low", x2: "high", y1: "emotion", y2: "emotion", dy, stroke: colour(place), strokeWidth: 4,
              strokeOpacity: 0.4, strokeLinecap: "round",
            }),
            Plot.dot(own, { x: "share", y: "emotion", dy, r: 4.5, fill: colour(place) }),
          ];
        }),
        Plot.tip(points, Plot.pointer({
          x: "share", y: "emotion", ...emolake.tip,
          title: (point) => `${roleWord(point.role)}, ${nameOf(point.emotion)}: ${formatted(asList(point), "share")}`,
        })),
      ],
    }) : null));
  }

  const dayBefore = (period) => {
    const next = period < days.length ? days[period].getTime() : new Date(`${data.last}T00:00:00Z`).getTime() + 86400000;
    return new Date(next - 86400000).toISOString().slice(0, 10);
  };

  function trends(state) {
    const emotions = emotionsOf(state, pool(state)).filter((emotion) => state.emotion === null || emotion === state.emotion);
    const numbers = d3.range(state.first, state.last + 1);
    const ofDay = numbers.map((period) => pool(state, { first: period, last: period }));
    const smooth = numbers.map((period) => pool(state, { first: Math.max(state.first, period - data.smooth_periods + 1), last: period }));
    const isOne = state.emotion !== null;
    emolake.table(table("daily"), [
      { word: "day", format: "date" }, { word: "recordings", format: "number" },
      ...emotions.map((emotion) => ({ word: `emotion_${data.emotions[emotion]}`, format: "share" })),
      ...(isOne ? [{ word: "seven_days", format: "share" }] : []),
    ], numbers.map((period, place) => [
      data.periods[period], ofDay[place].recordings,
      ...emotions.map((emotion) => asList(figures.share(ofDay[place], emotion))),
      ...(isOne ? [asList(figures.share(smooth[place], state.emotion))] : []),
    ]).filter((row) => row[1]));
    const whole = pool(state);
    at("multiples").replaceChildren(...emotions.map((emotion) => {
      const share = figures.share(whole, emotion);
      const points = numbers.map((period, place) => ({
        day: days[period], own: figures.share(ofDay[place], emotion), smooth: figures.share(smooth[place], emotion),
        recordings: ofDay[place].recordings,
      }));
      const place = made("div", { className: "chart" });
      const panel = made("div", {}, made("h3", {}, made("span", {}, nameOf(emotion)), made("span", {}, formatted(asList(share), "share"))), place);
      // Its width is known when it is in the page.
      requestAnimationFrame(() => emolake.chart(place, () => `${nameOf(emotion)}: ${formatted(asList(share), "share")}`, (width) => {
        const color = colourOf(emotion);
        const bands = points.filter((point) => point.smooth.low !== null);
        const top = Math.max(0.02, d3.max(points, (point) => Math.max(point.own.share ?? 0, point.smooth.share ?? 0, point.smooth.high ?? 0)));
        return emolake.plot(width, {
          height: isOne ? 260 : 150, marginLeft: 40, marginTop: 8,
          x: { type: "utc", label: null, domain: [days[state.first], days[state.last]], ticks: emolake.dayTicks(days[state.first], days[state.last], width), tickFormat: emolake.dayLabel },
          y: { ...asPercent, domain: [0, Math.min(1, 1.04 * top) * 100], ticks: 4, tickSize: 0 },
          marks: [
            Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: 4 }),
            Plot.areaY(bands, { x: "day", y1: (point) => point.smooth.low, y2: (point) => point.smooth.high, fill: color, fillOpacity: 0.18 }),
            Plot.dot(points.filter((point) => point.own.share !== null), { x: "day", y: (point) => point.own.share, r: 2, fill: color, fillOpacity: 0.5 }),
            Plot.lineY(points.filter((point) => point.smooth.share !== null), { x: "day", y: (point) => point.smooth.share, stroke: color, strokeWidth: 2.25 }),
            Plot.tip(points.filter((point) => point.smooth.share !== null), Plot.pointerX({
              x: "day", y: (point) => point.smooth.share, ...emolake.tip,
              title: (point) => [
                point.day.toISOString().slice(0, 10), `${word("of_day")}: ${formatted(asList(point.own), "share")}`,
                `${word("seven_days")}: ${formatted(asList(point.smooth), "share")}`, `${word("recordings")}: ${formatted(point.recordings, "number")}`,
              ].join("\n"),
            })),
          ],
        });
      }));
      return panel;
    }));
  }

  const coverageOf = (state) => data.coverage
    .filter(([day, model]) => day >= data.periods[state.first] && day <= dayBefore(state.last + 1) && (model === null || model === data.models?.[state.model]))
    .map(([day, , listed, audio, ...counts]) => (
      { day, listed, audio, of: Object.fromEntries(d3.zip(data.stages, counts)) }
    ));

  return {
    at, table, made, legend, pool, emotionsOf, subject, nameOf, colourOf, roleWord, days, dayBefore, atAxis, asPercent, asList,
    roomFor, shortened, coverageOf, strip, changes, roles, trends,
  };
})();
