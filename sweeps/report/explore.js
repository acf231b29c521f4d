"use strict";
/* Prices, sums and purchases of the page. The first part is sweeps/report/advice.py, to the last
   bit: draws are integers, and dollars are summed in one order. Nothing here asks for anything that
   is not in the page. */

const SCALE = 65535;

function priceOf(offer, prices, axis) {
  let clicks = 0;
  for (const [part, name, number] of offer.items) {
    if (axis.includes(part)) clicks += prices[name] * number;
  }
  const dollars = (clicks * prices.seconds_per_click * prices.wage_per_hour) / 3600;
  return axis.includes("compute") ? dollars + offer.compute : dollars;
}

/* offers: purchases; draws: one Uint16Array of N draws for each. */
function advise(offers, draws, prices, dollars, axis) {
  const costs = offers.map((offer) => priceOf(offer, prices, axis));
  const affordable = [...costs.keys()]
    .filter((i) => costs[i] <= dollars)
    .sort((a, b) => costs[a] - costs[b] || a - b);
  const named = affordable
    .filter((i) => offers[i].is_named)
    .sort((a, b) => offers[b].mean - offers[a].mean || costs[a] - costs[b] || a - b);
  if (!named.length) return null;
  const n = draws[0].length;
  const wins = new Array(offers.length).fill(0);
  const [first, second] = named;
  let highestSum = 0;
  let firstSum = 0;
  for (let k = 0; k < n; k += 1) {
    let highest = -1;
    let holder = 0;
    for (const i of affordable) {
      if (draws[i][k] > highest) {
        highest = draws[i][k];
        holder = i;
      }
    }
    wins[holder] += 1;
    highestSum += highest;
    firstSum += draws[first][k];
  }
  return {
    first,
    probability: wins[first] / n,
    regret: (highestSum - firstSum) / (n * SCALE),
    runner_up: second === undefined ? null : second,
    runner_up_probability: second === undefined ? 0 : wins[second] / n,
    shares: wins.map((count) => count / n),
  };
}

/* Median and 95 % of the draws of one purchase minus another, and the share in which it is above. */
function compare(one, other) {
  const differences = Array.from(one, (value, k) => (value - other[k]) / SCALE);
  const above = differences.filter((value) => value > 0).length / differences.length;
  differences.sort((a, b) => a - b);
  const at = (q) => differences[Math.round(q * (differences.length - 1))];
  return { low: at(0.025), median: at(0.5), high: at(0.975), above };
}

/* Places that no other one beats on both: it costs no more and scores no less, one of them strictly. */
function onFrontier(costs, scores) {
  return [...costs.keys()].filter((i) => !costs.some((cost, j) =>
    cost <= costs[i] && scores[j] >= scores[i] && (cost < costs[i] || scores[j] > scores[i])));
}

function decode(text, count, length) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: count }, (_, i) =>
    Uint16Array.from({ length }, (__, k) => view.getUint16(2 * (i * length + k), true)));
}

/* A scale of dollars as sweeps/report/chart.py has it: logarithmic beyond a tenfold range. */
function dollarScale(costs, left, right) {
  const positive = costs.filter((cost) => cost > 0);
  const low = positive.length ? Math.min(...positive) : 0;
  const high = positive.length ? Math.max(...positive) : 1;
  if (!positive.length || high <= 10 * low) {
    const from = Math.min(...costs, low);
    const pad = 0.08 * (high - from) || 0.5 * high || 1;
    const [start, end] = [from - pad, high + pad];
    const rough = (end - start) / 6;
    const ten = 10 ** Math.floor(Math.log10(rough));
    const step = ten * [1, 2, 5, 10].find((factor) => factor * ten >= rough);
    const ticks = [];
    for (let k = Math.ceil(Math.max(start, 0) / step); k * step <= end; k += 1) ticks.push(k * step);
    return { at: (cost) => left + ((cost - start) / (end - start)) * (right - left), ticks };
  }
  const decades = Math.log10(high / low);
  const [start, end] = [Math.log10(low) - 0.06 * decades, Math.log10(high) + 0.06 * decades];
  const factors = decades < 3 ? [1, 2, 5] : decades < 4 ? [1, 3] : [1];
  const ticks = [];
  for (let k = Math.floor(start); k <= Math.ceil(end); k += 1) {
    for (const factor of factors) ticks.push(factor * 10 ** k);
  }
  const at = (cost) => left + ((Math.log10(Math.max(cost, 10 ** start)) - start) / (end - start)) * (right - left);
  return { at, ticks: ticks.filter((tick) => Math.log10(tick) >= start && Math.log10(tick) <= end) };
}

/* Places moved to the right where two marks would cover each other. */
function dodge(xs, ys) {
  const placed = [];
  const order = [...xs.keys()].sort((a, b) => xs[a] - xs[b] || a - b);
  const moved = [...xs];
  for (const i of order) {
    let x = xs[i];
    const covers = (p) => Math.abs(p[0] - x) < 9 && Math.abs(p[1] - ys[i]) < 9;
    for (let tries = 0; tries < 12 && placed.some(covers); tries += 1) x += 6;
    placed.push([x, ys[i]]);
    moved[i] = x;
  }
  return moved;
}

function money(value) {
  const digits = value >= 100 ? 0 : 2;
  return "$" + value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/* As the report's own words have them: half a last digit goes to the even one. */
function number(value, digits) {
  const size = Math.abs(value);
  let text = size.toFixed(digits);
  if (Math.abs((size * 2 ** (digits + 1)) % 2) === 1 && Number(text.slice(-1)) % 2) text = (Number(text) - 10 ** -digits).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `\u2212${text}` : text;
}

function probability(value) {
  if (value > 0 && value < 0.005) return "below 0.01";
  return value >= 0.995 && value < 1 ? "above 0.99" : number(value, 2);
}

function start(document) {
  const data = JSON.parse(document.getElementById("data").textContent);
  const draws = decode(data.codes, data.drawn.length, data.draws);
  const root = document.getElementById("explore");
  const svg = document.getElementById("chart");
  const drawn = new Map(data.drawn.map((place, i) => [place, i]));
  const state = { prices: { ...data.prices }, axis: [...data.axis], dollars: Infinity, pinned: [], hidden: new Set() };
  const $ = (id) => document.getElementById(id);
  const make = (tag, attributes, text) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const isShown = (offer) => !state.hidden.has(`kind ${offer.kind}`) && !state.hidden.has(`method ${offer.method}`);
  const marks = [...svg.querySelectorAll(".mark")];

  function field(label, input, output) {
    const row = make("label", { class: "control" });
    row.append(make("span", {}, label), input);
    if (output) row.append(output);
    return row;
  }

  function slider(name, value, most, step, onInput) {
    const input = make("input", { type: "range", min: 0, max: most, step, value, id: `price-${name}` });
    const output = make("output", { for: `price-${name}` }, String(value));
    input.addEventListener("input", () => {
      output.textContent = input.value;
      onInput(Number(input.value));
    });
    return [input, output];
  }

  function addControls() {
    for (const [name, label] of Object.entries(data.priced)) {
      const value = data.prices[name];
      const most = 4 * value || 10;
      const [input, output] = slider(name, value, most, most / 400, (chosen) => {
        state.prices[name] = chosen;
        render();
      });
      $("prices").append(field(label, input, output));
    }
    const range = sums();
    const input = make("input", { type: "range", min: 0, max: 200, step: 1, value: 200, id: "sum" });
    input.addEventListener("input", () => {
      const [low, high] = sums();
      const part = Number(input.value) / 200;
      state.dollars = part === 1 ? Infinity : Math.max(low, 0.01) * (Math.max(high, 0.01) / Math.max(low, 0.01)) ** part;
      render();
    });
    if (range) $("prices").prepend(field("dollars to spend", input, make("output", { for: "sum", id: "sum-shown" })));
    for (const [part, label] of Object.entries(data.parts)) {
      const box = make("input", { type: "checkbox", id: `part-${part}` });
      box.checked = state.axis.includes(part);
      box.addEventListener("change", () => {
        state.axis = Object.keys(data.parts).filter((each) => $(`part-${each}`).checked);
        render();
      });
      $("parts").append(field(label, box));
    }
    for (const what of ["kind", "method"]) {
      for (const value of new Set(data.offers.map((offer) => offer[what]))) {
        const box = make("input", { type: "checkbox" });
        box.checked = true;
        box.addEventListener("change", () => {
          if (box.checked) state.hidden.delete(`${what} ${value}`);
          else state.hidden.add(`${what} ${value}`);
          render();
        });
        $("filters").append(field(value, box));
      }
    }
  }

  function sums() {
    const costs = data.offers.map((offer) => priceOf(offer, state.prices, state.axis));
    return [Math.min(...costs), Math.max(...costs)];
  }

  function renderChart(costs, scale, front) {
    const xs = dodge(costs.map(scale.at), data.offers.map((offer) => offer.y));
    for (const mark of marks) {
      const i = Number(mark.dataset.place);
      mark.toggleAttribute("hidden", !isShown(data.offers[i]));
      mark.setAttribute("transform", `translate(${xs[i].toFixed(1)} 0)`);
      mark.setAttribute("aria-label", describe(i, costs));
      mark.querySelector("title").textContent = describe(i, costs);
      mark.setAttribute("aria-pressed", String(state.pinned.includes(i)));
      mark.classList.toggle("front", front.includes(i));
    }
    const ticks = $("ticks");
    ticks.replaceChildren(...scale.ticks.map((tick) => {
      const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      text.setAttribute("x", scale.at(tick).toFixed(1));
      text.setAttribute("y", ticks.dataset.y);
      text.textContent = tick >= 1 || tick === 0 ? `$${tick.toLocaleString("en-US")}` : `$${tick.toPrecision(1)}`;
      return text;
    }));
    const points = front.sort((a, b) => costs[a] - costs[b]).map((i) => `${scale.at(costs[i]).toFixed(1)},${data.offers[i].y}`);
    $("frontier").setAttribute("points", points.join(" "));
  }

  function describe(i, costs) {
    const offer = data.offers[i];
    const part = offer.reason ? `, not ranked: ${offer.reason}` : "";
    return `${offer.name}: ${money(costs[i])}, robust AUROC ${offer.robust}, overall AUROC ${offer.overall}${part}`;
  }

  function renderAdvice() {
    const places = data.drawn.filter((place) => isShown(data.offers[place]));
    const offers = places.map((place) => data.offers[place]);
    const columns = places.map((place) => draws[drawn.get(place)]);
    const found = offers.length ? advise(offers, columns, state.prices, state.dollars, state.axis) : null;
    if ($("sum-shown")) $("sum-shown").textContent = state.dollars === Infinity ? "any sum" : money(state.dollars);
    const sum = state.dollars === Infinity ? "With enough for everything" : `With ${money(state.dollars)}`;
    if (!found) {
      $("advice").textContent = `${sum}, nothing that is ranked and shown can be bought.`;
      return new Map();
    }
    const first = offers[found.first];
    let text = `${sum}, buy ${first.name}, for ${money(priceOf(first, state.prices, state.axis))}: probability of being the best of what it buys ${probability(found.probability)}, expected regret ${number(found.regret, 3)}.`;
    if (found.runner_up !== null) text += ` Next: ${offers[found.runner_up].name} (${probability(found.runner_up_probability)}).`;
    $("advice").textContent = text;
    return new Map(places.map((place, i) => [place, found.shares[i]]));
  }

  function renderTable(costs, front, shares) {
    const order = [...costs.keys()].filter((i) => isShown(data.offers[i])).sort((a, b) => costs[a] - costs[b]);
    $("ranked").replaceChildren(...order.map((i) => {
      const offer = data.offers[i];
      const row = make("tr", front.includes(i) ? { class: "front" } : {});
      const share = shares.has(i) && costs[i] <= state.dollars ? probability(shares.get(i)) : "–";
      for (const text of [offer.name, money(costs[i]), offer.robust, front.includes(i) ? "yes" : "no", share]) {
        row.append(make("td", {}, text));
      }
      return row;
    }));
  }

  function renderPins(costs) {
    const box = $("pins");
    box.replaceChildren();
    if (!state.pinned.length) {
      box.append(make("p", { class: "note" }, "Choose a mark of the chart, or two, to see and compare them here."));
      return;
    }
    const list = make("ul");
    for (const i of state.pinned) {
      const offer = data.offers[i];
      list.append(make("li", {}, `${describe(i, costs)}. Robust AUROC by seed: ${offer.seeds}.`));
    }
    box.append(list);
    const [one, other] = state.pinned;
    if (state.pinned.length === 2 && drawn.has(one) && drawn.has(other)) {
      const found = compare(draws[drawn.get(one)], draws[drawn.get(other)]);
      const dearer = costs[one] - costs[other];
      box.append(make("p", {}, `The first minus the second: robust AUROC ${number(found.median, 3)} (95 % of draws ${number(found.low, 3)} to ${number(found.high, 3)}), probability of being above it ${probability(found.above)}, for ${money(Math.abs(dearer))} ${dearer < 0 ? "less" : "more"}.`));
    }
  }

  function render() {
    const costs = data.offers.map((offer) => priceOf(offer, state.prices, state.axis));
    const scale = dollarScale(costs, data.left, data.right);
    const ranked = [...costs.keys()].filter((i) => isShown(data.offers[i]) && !data.offers[i].reason);
    const front = onFrontier(ranked.map((i) => costs[i]), ranked.map((i) => data.offers[i].mean)).map((k) => ranked[k]);
    renderChart(costs, scale, front);
    renderTable(costs, front, renderAdvice());
    renderPins(costs);
  }

  function pin(i) {
    state.pinned = state.pinned.includes(i) ? state.pinned.filter((each) => each !== i) : [...state.pinned, i].slice(-2);
    render();
  }

  for (const mark of marks) {
    mark.setAttribute("role", "button");
    mark.addEventListener("click", () => pin(Number(mark.dataset.place)));
    mark.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      pin(Number(mark.dataset.place));
    });
  }
  addControls();
  root.removeAttribute("hidden");
  render();
}

if (typeof document === "undefined") module.exports = { advise, priceOf, onFrontier, compare, decode, number, probability };
else start(document);
