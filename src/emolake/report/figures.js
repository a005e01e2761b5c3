"use strict";
// Shares of a selection and their intervals, from sums over recordings: what `share_bounds.sql` does, for any selection.
emolake.figures = (() => {
  const { data } = emolake;
  const nothing = () => ({ e: 0, ee: 0, ea: 0, es: 0, uncertain: 0, confidence: 0 });

  // A selection: { model, group, role, first, last }, the last two as numbers of periods, inclusive.
  const cellsOf = ({ model, group, role, first, last }) => (
    (data.cells[`${model} ${group} ${role}`] || []).filter(([period]) => period >= first && period <= last)
  );

  // Add up the cells of a selection.
  const pooled = (cells) => {
    const pool = { recordings: 0, segments: 0, unlabelled: 0, squared: 0, segmentsSquared: 0, seconds: 0, of: new Map() };
    for (const [, recordings, segments, unlabelled, squared, segmentsSquared, emotions] of cells) {
      pool.recordings += recordings;
      pool.segments += segments;
      pool.unlabelled += unlabelled;
      pool.squared += squared;
      pool.segmentsSquared += segmentsSquared;
      for (const [emotion, e, ee, ea, es, uncertain, confidence] of emotions) {
        if (!pool.of.has(emotion)) pool.of.set(emotion, nothing());
        const sums = pool.of.get(emotion);
        sums.e += e; sums.ee += ee; sums.ea += ea; sums.es += es;
        sums.uncertain += uncertain; sums.confidence += confidence;
        pool.seconds += e;
      }
    }
    return pool;
  };

  const student = (freedom) => 1.959964 * Math.exp(
    1.2103 / freedom + 0.7225 / freedom ** 2 + 0.07 / freedom ** 3 - 0.134 / freedom ** 4,
  );

  // The share of an emotion in a pool, with its 95 % interval; the ends are null of a single recording.
  const share = (pool, emotion) => {
    if (!pool.seconds) return { share: null, low: null, high: null };
    const { e, ee, ea, es } = pool.of.get(emotion) || nothing();
    const all = pool.seconds, n = pool.recordings, p = Math.min(e / all, 1);
    if (n < 2) return { share: p, low: null, high: null };
    const equal = all ** 2 / pool.squared;
    const freedom = Math.max(equal - 1, 1);
    const variance = Math.max(
      n / (n - 1) * (ee - 2 * p * ea + p ** 2 * pool.squared) / all ** 2,
      (es / all - p ** 2) / freedom,
      p * (1 - p) * pool.segmentsSquared / all ** 2,
    );
    const draws = p * (1 - p) > 0 && variance > 0 ? p * (1 - p) / variance : equal;
    const t2 = student(freedom) ** 2;
    const centre = (p + t2 / draws / 2) / (1 + t2 / draws);
    const half = Math.sqrt(t2) * Math.sqrt(p * (1 - p) / draws + t2 / draws ** 2 / 4) / (1 + t2 / draws);
    return { share: p, low: Math.max(Math.min(centre - half, p), 0), high: Math.min(Math.max(centre + half, p), 1) };
  };

  // The change between two shares; the interval is Newcombe's (1998, Statistics in Medicine 17, 873-890, method 10).
  const change = (now, before) => {
    if (now.share === null || before.share === null) return { change: null, low: null, high: null };
    const by = now.share - before.share;
    if (now.low === null || before.low === null) return { change: by, low: null, high: null };
    return {
      change: by,
      low: by - Math.hypot(now.share - now.low, before.high - before.share),
      high: by + Math.hypot(now.high - now.share, before.share - before.low),
    };
  };

  // The last days of a selection and as many before them: 7, or half of it; null of a single period.
  const halves = ({ first, last }) => {
    const length = Math.min(data.change_periods, Math.floor((last - first + 1) / 2));
    return length < 1 ? null : { recent: [last - length + 1, last], before: [last - 2 * length + 1, last - length], length };
  };

  return { cellsOf, pooled, share, change, halves };
})();
