"use strict";
// One spectrum at a time, from the table of spectra that the page holds: the slider chooses the fluence.
(function () {
  const NS = "http://www.w3.org/2000/svg", H = 300, L = 66, R = 14, T = 10, B = 42;
  function make(tag, attributes, parent, words) {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (words !== undefined) element.textContent = words;
    parent.appendChild(element);
    return element;
  }
  function ticks(low, high) {
    const step = Math.pow(10, Math.floor(Math.log10((high - low) / 4 || 1)));
    const wide = [1, 2, 5, 10].map((n) => n * step).find((s) => (high - low) / s <= 5) || step;
    const found = [];
    for (let n = Math.ceil(low / wide); n * wide <= high; n++) found.push(n * wide);
    return found;
  }
  function show(viewer, columns, names) {
    const input = viewer.querySelector("input"), output = viewer.querySelector("output");
    const svg = viewer.querySelector("svg"), x = columns[0];
    function draw() {
      const W = Math.max(300, svg.parentElement.clientWidth);
      svg.setAttribute("viewBox", `0 0 ${W} ${H}`);
      const chosen = 1 + Number(input.value), y = columns[chosen];
      let low = Math.min(0, ...y), high = Math.max(...y);
      if (!(high > low)) high = low + 1;
      const across = (v) => L + (v - x[0]) / (x[x.length - 1] - x[0]) * (W - L - R);
      const up = (v) => H - B - (v - low) / (high - low) * (H - B - T);
      svg.replaceChildren();
      make("title", {}, svg, "Emission spectrum at " + names[chosen]);
      for (const v of ticks(x[0], x[x.length - 1])) {
        make("line", { x1: across(v), x2: across(v), y1: H - B, y2: H - B + 5, stroke: "#1b1e23" }, svg);
        make("text", { x: across(v), y: H - B + 19, "text-anchor": "middle" }, svg, String(+v.toPrecision(6)));
      }
      for (const v of ticks(low, high)) {
        make("line", { x1: L - 5, x2: L, y1: up(v), y2: up(v), stroke: "#1b1e23" }, svg);
        make("text", { x: L - 8, y: up(v) + 4, "text-anchor": "end" }, svg, String(+v.toPrecision(4)));
      }
      make("path", { d: `M${L} ${T}V${H - B}H${W - R}`, fill: "none", stroke: "#1b1e23" }, svg);
      make("text", { x: (L + W - R) / 2, y: H - 6, "text-anchor": "middle" }, svg, "Wavelength (nm)");
      make("text", { x: 14, y: (H - B) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(H - B) / 2})` },
        svg, "Emission (counts per pulse)");
      const points = y.map((v, n) => `${across(x[n]).toFixed(1)},${up(v).toFixed(1)}`).join(" ");
      make("polyline", { points: points, fill: "none", stroke: "#14557b", "stroke-width": 1.2 }, svg);
      output.textContent = names[chosen] + " (" + chosen + " of " + (columns.length - 1) + ")";
    }
    viewer.hidden = false;
    input.addEventListener("input", draw);
    window.addEventListener("resize", draw);
    draw();
  }
  for (const viewer of document.querySelectorAll(".viewer")) {
    const link = document.getElementById(viewer.dataset.table);
    const lines = decodeURIComponent(link.href.slice(link.href.indexOf(",") + 1)).trim().split("\n");
    const rows = lines.slice(1).map((line) => line.split(",").map(Number));
    show(viewer, rows[0].map((_, n) => rows.map((row) => row[n])), lines[0].replaceAll("uJ/cm2", "µJ/cm²").split(","));
  }
})();
