// Charts as plain SVG, each with its numbers in words for who does not see it.

const NS = "http://www.w3.org/2000/svg";
function s(tag, props = {}, ...children) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(props)) if (value !== null && value !== undefined) element.setAttribute(name, value);
  element.append(...children.flat(Infinity).filter(Boolean));
  return element;
}
const svg = (width, height, label, ...children) => s("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...children);
const nice = (value) => {
  if (value <= 1) return 1;
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * step).find((n) => n >= value);
};
const count = (value) => new Intl.NumberFormat(undefined, { notation: "compact" }).format(value);
const hour = (ms) => new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms);

export const SERIES = [["hits", "Hits"], ["stale", "Stale"], ["collapsed", "Collapsed"], ["misses", "Misses"], ["bypass", "Bypass"]];

/** Bars by the minute, outcomes stacked; drawn as wide as it is shown, so that its words keep their size. */
export function stacked(minutes, width = 720) {
  const [height, left, bottom] = [190, 34, 22];
  const total = (minute) => SERIES.reduce((sum, [key]) => sum + minute[key], 0);
  const top = nice(Math.max(...minutes.map(total), 1));
  const step = (width - left) / minutes.length;
  const y = (value) => (height - bottom) * (1 - value / top) + 4;
  const bars = minutes.flatMap((minute, at) => {
    let base = 0;
    return SERIES.filter(([key]) => minute[key] > 0).map(([key]) => {
      const bar = s("rect", { class: `s-${key}`, x: left + at * step + 1, width: Math.max(step - 2, 1), y: y(base + minute[key]), height: Math.max(y(base) - y(base + minute[key]), 0.5) });
      base += minute[key];
      return bar;
    });
  });
  const lines = (top < 2 ? [0, 1] : [0, 0.5, 1]).map((share) => [s("line", { class: "axis", x1: left, x2: width, y1: y(top * share), y2: y(top * share) }), text(left - 6, y(top * share) + 4, count(top * share), "end")]);
  const times = minutes.length ? [0, Math.floor(minutes.length / 2), minutes.length - 1].map((at) => text(left + (at + 0.5) * step, height - 4, hour(minutes[at].at_ms), at === 0 ? "start" : at === minutes.length - 1 ? "end" : "middle")) : [];
  const sums = SERIES.map(([key, name]) => `${name} ${minutes.reduce((sum, minute) => sum + minute[key], 0)}`).join(", ");
  return svg(width, height, `Requests by minute over the last hour. ${sums}.`, lines, bars, times);
}
function text(x, y, words, anchor) {
  const element = s("text", { x, y, "text-anchor": anchor });
  element.textContent = words;
  return element;
}

export function legend() {
  const list = document.createElement("ul");
  list.className = "legend";
  for (const [key, name] of SERIES) {
    const item = document.createElement("li");
    item.append(s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, s("rect", { class: `s-${key}`, width: 10, height: 10, rx: 2 })), name);
    list.append(item);
  }
  return list;
}

/** A small line of values over time. */
export function spark(points, label) {
  const [width, height] = [240, 44];
  if (points.length < 2) return svg(width, height, `${label}: not enough data yet`, s("line", { class: "axis", x1: 0, x2: width, y1: height - 2, y2: height - 2 }));
  const top = Math.max(...points, 1e-9);
  const at = (value, index) => `${(index / (points.length - 1)) * width},${height - 3 - (value / top) * (height - 8)}`;
  const path = points.map(at).join(" ");
  return svg(width, height, `${label}: from ${points[0].toFixed(2)} to ${points.at(-1).toFixed(2)}`, s("polygon", { class: "area", points: `0,${height} ${path} ${width},${height}` }), s("polyline", { class: "line", points: path }));
}

/** A bound against its budget: the bar is what may be wrong with 95 % certainty, the mark what is allowed. */
export function gauge(bound, budget, known, label) {
  const [width, height] = [240, 16];
  const top = Math.max(budget * 2, Math.min(bound, budget * 4), 1e-6);
  const x = (value) => Math.min(value / top, 1) * width;
  return svg(width, height, label, s("rect", { class: "g-track", width, height: 10, y: 3, rx: 5 }), known ? s("rect", { class: bound <= budget ? "g-ok" : "g-bad", width: Math.max(x(bound), 3), height: 10, y: 3, rx: 5 }) : null, s("line", { class: "g-mark", x1: x(budget), x2: x(budget), y1: 0, y2: height }));
}

/** Freshness as a clock laid flat: fresh, then stale while refreshing, then only when the model fails. Lengths are by logarithm. */
export function freshness(ttl, whileRevalidate, ifError, label) {
  const [width, height] = [240, 14];
  const size = (ms) => (ms > 0 ? Math.log10(1 + ms / 1000) + 0.4 : 0);
  const parts = [["c-ttl", size(ttl)], ["c-swr", size(whileRevalidate)], ["c-sie", size(ifError)]];
  const total = parts.reduce((sum, [, value]) => sum + value, 0) || 1;
  let x = 0;
  const bars = parts.filter(([, value]) => value > 0).map(([name, value]) => {
    const bar = s("rect", { class: name, x, width: Math.max((value / total) * width - 2, 2), height: 10, y: 2, rx: 3 });
    x += (value / total) * width;
    return bar;
  });
  return svg(width, height, label, bars.length ? bars : s("rect", { class: "g-track", width, height: 10, y: 2, rx: 3 }));
}
