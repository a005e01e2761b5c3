"use strict";
// One recording over time: a chart per track, a legend, and a cursor that follows the player.
(() => {
  const { data } = emolake;
  const left = 18, right = 18;
  const wave = 56, talk = 10, strip = 22, stack = 74, gap = 6;
  const player = document.getElementById("player");
  const chosen = document.getElementById("model");
  let model = data.models[0] || { segments: [] };

  const nameOf = ({ channel, role }) => (channel === null ? emolake.word("mix")
    : role === null ? emolake.word("track", { channel }) : emolake.word("track_role", { channel, role }));

  // Peaks come as least and greatest of equal parts of the time, in hundredths of the channel's greatest.
  const wavePoints = (peaks) => d3.range(peaks.length / 2).map((part) => ({
    at: (part + 0.5) / (peaks.length / 2) * data.duration, low: peaks[2 * part], high: peaks[2 * part + 1],
  }));

  // Probabilities of a window as rectangles on one another.
  const stacked = (segments) => segments.flatMap(({ start, end, probabilities }) => {
    let below = 0;
    return data.emotions.filter((emotion) => probabilities[emotion] > 0.004).map((emotion) => {
      const made = { start, end, emotion, low: below, high: below + probabilities[emotion], p: probabilities[emotion] };
      below = made.high;
      return made;
    });
  });

  const tip = (segment) => `${emolake.formats.clock(segment.start)}–${emolake.formats.clock(segment.end)} `
    + `${emolake.formats.emotion(segment.emotion)} ${emolake.formatted(segment.p ?? segment.confidence, "percent")}`;

  const withHatching = (svg, id) => {
    const pattern = d3.select(svg).append("defs").append("pattern")
      .attr("id", id).attr("width", 5).attr("height", 5)
      .attr("patternUnits", "userSpaceOnUse").attr("patternTransform", "rotate(45)");
    pattern.append("rect").attr("width", 2).attr("height", 5).attr("fill", "var(--card)");
    return svg;
  };

  const drawn = (track, number, width) => {
    const segments = model.segments.filter((segment) => segment.track === track.name);
    const labelled = segments.filter((segment) => segment.emotion !== null);
    const uncertain = labelled.filter((segment) => segment.uncertain);
    const marks = [];
    let top = 4;
    if (track.peaks) {
      const scale = d3.scaleLinear([-100, 100], [top + wave, top]);
      const middle = scale(0);
      marks.push(
        Plot.areaY(wavePoints(track.peaks), {
          x: "at", y1: (point) => scale(point.low) + 0.4, y2: (point) => scale(point.high) - 0.4, fill: "var(--series-0)",
        }),
        Plot.ruleY([middle], { stroke: "var(--line)", strokeWidth: 0.5 }),
      );
      top += wave + gap;
      const bar = top;
      marks.push(Plot.rect(track.talk, {
        x1: (stretch) => stretch[0], x2: (stretch) => stretch[1], y1: () => bar, y2: () => bar + talk, fill: "var(--text)",
        title: ([start, end]) => `${emolake.formats.clock(start)}–${emolake.formats.clock(end)}`,
      }));
      top += talk + gap;
    }
    if (segments.length) {
      const begin = top;
      const place = { x1: "start", x2: "end", y1: () => begin, y2: () => begin + strip };
      marks.push(
        Plot.rect(labelled, {
          ...place, fill: (segment) => emolake.colour(segment.emotion), fillOpacity: (segment) => 0.3 + 0.7 * segment.confidence,
          stroke: "var(--card)", strokeWidth: 1, title: tip,
        }),
        Plot.rect(uncertain, { ...place, fill: `url(#uncertain-${number})` }),
      );
      top += strip + gap;
      const foot = top + stack;
      marks.push(
        Plot.rect(stacked(labelled), {
          x1: "start", x2: "end", y1: (part) => foot - part.low * stack, y2: (part) => foot - part.high * stack,
          fill: (part) => emolake.colour(part.emotion), title: tip,
        }),
      );
      top = foot + gap;
    }
    const svg = emolake.plot(width, {
      height: top + 24, marginLeft: left, marginRight: right, marginTop: 0, marginBottom: 24,
      x: { domain: [0, data.duration], tickFormat: (at) => emolake.formats.clock(at).replace(/[.,]0$/, ""), ticks: Math.max(2, Math.floor(width / 90)), label: null },
      y: { axis: null, type: "linear", domain: [0, top], range: [0, top] },
      opacity: { type: "identity" },
      marks,
    });
    return withHatching(svg, `uncertain-${number}`);
  };

  const said = (track) => {
    const labelled = model.segments.filter(({ track: of, emotion }) => of === track.name && emotion !== null);
    const stretches = track.talk || [];
    return emolake.word("track_chart", {
      track: nameOf(track), talk: d3.sum(stretches, ([start, end]) => end - start), stretches: stretches.length,
      windows: labelled.length, uncertain: labelled.filter(({ uncertain }) => uncertain).length,
    });
  };

  const cursors = [];
  const seek = (at) => {
    player.currentTime = at;
    player.play().catch(() => {});
  };
  const tracks = document.getElementById("tracks");
  const headings = data.tracks.map((track, number) => {
    const box = document.createElement("div");
    const heading = document.createElement("h3");
    const chart = document.createElement("div");
    const place = document.createElement("div");
    box.className = "track";
    chart.className = player ? "track-chart seeks" : "track-chart";
    heading.textContent = nameOf(track);
    chart.append(place);
    box.append(heading, chart);
    tracks.append(box);
    if (player) {
      const cursor = document.createElement("div");
      cursor.className = "cursor";
      cursor.hidden = true;
      chart.append(cursor);
      cursors.push(cursor);
      chart.addEventListener("click", (event) => {
        const box = chart.getBoundingClientRect();
        const part = (event.clientX - box.left - left) / (box.width - left - right);
        seek(Math.max(0, Math.min(1, part)) * data.duration);
      });
    }
    emolake.chart(place, () => said(track), (width) => drawn(track, number, width));
    return heading;
  });

  const legend = () => document.getElementById("legend").replaceChildren(...data.emotions.map((emotion) => {
    const item = document.createElement("li");
    item.append(emolake.swatch(emolake.colour(emotion)), emolake.formats.emotion(emotion));
    return item;
  }));
  legend();
  emolake.onChange(() => {
    legend();
    data.tracks.forEach((track, number) => { headings[number].textContent = nameOf(track); });
  });
  if (chosen) {
    chosen.addEventListener("change", () => {
      model = data.models[Number(chosen.value)];
      emolake.listeners.forEach((listener) => listener());
    });
  }

  if (!player) return;
  // A button in each row of a table that begins with a place in the recording.
  const rows = [...document.querySelectorAll("[id^=table-segments-] tbody tr, #table-turns tbody tr")].map((row) => {
    const [from, to] = [...row.querySelectorAll("data[data-format=clock]")].map((place) => Number(place.value));
    const button = document.createElement("button");
    button.type = "button";
    button.className = "play";
    button.textContent = "▶";
    const name = () => button.setAttribute("aria-label", emolake.word("play_from", { at: from }));
    name();
    emolake.onChange(name);
    button.addEventListener("click", () => seek(from));
    row.cells[0].prepend(button, " ");
    return { row, from, to };
  });
  player.addEventListener("timeupdate", () => {
    const at = player.currentTime;
    for (const cursor of cursors) {
      const width = cursor.parentElement.clientWidth - left - right;
      cursor.hidden = false;
      cursor.style.left = `${left + Math.min(1, at / data.duration) * width}px`;
    }
    for (const { row, from, to } of rows) row.classList.toggle("now", from <= at && at < to);
  });
  player.addEventListener("error", () => emolake.tell(document.getElementById("player-note"), "player_failed"));
})();
