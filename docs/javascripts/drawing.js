// The picture of a layer as SVG, in the look of fs.draw: twin of src/fracstride/drawing/layer_svg.py
// (where everything stands) and palette.py (the colours of the taps; the others are in site.css).
"use strict";

(function (fs) {
  const MARGIN = 20, LABELS = 92, TOP = 12; // the page itself has heading, equation and notes
  const CELL = 34, PITCH = 40, STEP = 32, BOX = 26;
  const AXIS = 84; // the height of the columns' boxes, names and phases
  const LEFT = MARGIN + LABELS + PITCH + 12;
  // Okabe and Ito: fill, and the colour of text on it.
  const TAPS = [
    ["#0072B2", "#ffffff"], ["#E69F00", "#000000"], ["#009E73", "#000000"], ["#F0E442", "#000000"],
    ["#D55E00", "#000000"], ["#56B4E9", "#000000"], ["#CC79A7", "#000000"], ["#BBBBBB", "#000000"],
  ];

  function element(parent, name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return parent.appendChild(made);
  }

  function name(line) {
    if (line.kind === "sample") return `y${line.number}`;
    return {zero: "0", cropped: "×"}[line.kind] ?? `x${line.source}`;
  }

  // Draws a diagram into an svg element. What belongs to a sample carries its number: the terms of
  // sample 3 have data-sample="3", so that the page can pick them out.
  function draw(svg, diagram) {
    const {columns, rows, terms, geometry} = diagram;
    const over = geometry.isTransposed;
    const headed = TOP + (over ? 0 : AXIS - 8);
    const bottom = headed + rows.length * STEP;
    const axis = over ? bottom + 8 : TOP;
    const x = new Map(columns.map((line, at) => [line.number, LEFT + at * PITCH]));
    const y = new Map(rows.map((line, at) => [line.number, headed + at * STEP]));
    const right = LEFT + columns.length * PITCH;
    const [width, height] = [right + MARGIN, bottom + (over ? AXIS : 8)];
    svg.replaceChildren();
    for (const [key, value] of Object.entries({width, height, viewBox: `0 0 ${width} ${height}`})) {
      svg.setAttribute(key, value);
    }
    element(svg, "title", {id: "picture-title"}, fs.heading(diagram));
    element(svg, "desc", {id: "picture-text"}, fs.description(diagram));

    const phased = diagram.phases.length > 1;
    for (const {number, phase} of columns) {
      if (phased && phase === 0) {
        const place = {x: x.get(number) - 3, y: headed - 4, width: PITCH, height: bottom - headed + 4};
        element(svg, "rect", {...place, class: "fs-band"});
      }
    }
    for (const line of rows) row(svg, diagram, line, x, y.get(line.number));
    for (const term of terms) tap(svg, diagram, term, x.get(term.column), y.get(term.row));
    for (const line of columns) column(svg, line, x.get(line.number), axis, over, phased);
    labels(svg, axis, right, over, phased);
  }

  function row(svg, diagram, line, x, y) {
    const left = MARGIN + LABELS;
    const noun = line.kind === "sample" ? "sample" : "frame";
    const ink = line.kind === "copy" ? "fs-faint" : "fs-ink";
    element(svg, "text", {x: left - 8, y: y + 18, class: `${ink} fs-end`}, `${noun} ${line.number}`);
    box(svg, line, left, y);
    const ends = diagram.terms
      .filter(term => term.row === line.number)
      .map(term => x.get(term.column) + CELL / 2);
    if (ends.length) { // one kernel: its taps on a thread
      const [x1, x2] = [Math.min(...ends), Math.max(...ends)];
      element(svg, "line", {x1, x2, y1: y + BOX / 2, y2: y + BOX / 2, class: "fs-thread"});
    }
  }

  function column(svg, line, x, axis, over, phased) {
    const top = axis + (over ? 8 : 22);
    const middle = {x: x + CELL / 2, class: "fs-faint fs-small fs-middle"};
    if (!over) element(svg, "text", {...middle, y: axis + 14}, line.number);
    box(svg, line, x, top);
    if (phased) element(svg, "text", {...middle, y: axis + (over ? 52 : 64)}, line.phase ?? "-");
  }

  function labels(svg, axis, right, over, phased) {
    const at = {x: MARGIN + LABELS - 8, class: "fs-ink fs-end"};
    if (over) element(svg, "line", {x1: LEFT - 4, x2: right, y1: axis, y2: axis, class: "fs-axis"});
    element(svg, "text", {...at, y: axis + (over ? 26 : 14)}, over ? "samples" : "frames");
    const faint = {...at, class: "fs-faint fs-end"};
    if (!over) element(svg, "text", {...faint, y: axis + 40}, "hold");
    if (phased) element(svg, "text", {...faint, y: axis + (over ? 52 : 64)}, "phase");
  }

  // A frame with its value, or a sample.
  function box(svg, line, x, y) {
    const outside = ["copy", "zero", "cropped"].includes(line.kind);
    const group = element(svg, "g", {class: outside ? "fs-box fs-outside" : "fs-box"});
    if (line.kind === "sample") group.dataset.sample = line.number;
    else if (line.source !== null && line.kind !== "cropped") group.dataset.source = line.source;
    element(group, "rect", {x, y, width: CELL, height: BOX, rx: 4});
    element(group, "text", {x: x + CELL / 2, y: y + 18, class: "fs-middle"}, name(line));
  }

  function tap(svg, diagram, term, x, y) {
    const over = diagram.geometry.isTransposed;
    const group = element(svg, "g", {class: term.counts ? "fs-tap" : "fs-tap fs-absent"});
    const [fill, ink] = term.counts ? TAPS[term.tap % TAPS.length] : ["", ""];
    if (term.counts) group.dataset.sample = over ? term.column : term.row;
    element(group, "title", {}, title(over, term));
    const shape = element(group, "rect", {x, y, width: CELL, height: BOX, rx: 4});
    const text = element(group, "text", {x: x + CELL / 2, y: y + 18, class: "fs-middle"}, `w${term.tap}`);
    [shape.style.fill, text.style.fill] = [fill, ink];
  }

  // Twin of term_title in words.py.
  function title(over, {row, column, tap, counts}) {
    if (!over) return `tap ${tap} of sample ${row} reads frame ${column}${counts ? "" : ", a zero"}`;
    return `tap ${tap} of frame ${row} ${counts ? `lands on sample ${column}` : "is cropped"}`;
  }

  Object.assign(fs, {draw});
})(window.fracstride);
