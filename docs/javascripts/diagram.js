// What the picture of a layer shows, and its words. Twin of src/fracstride/drawing/diagram.py and
// words.py, of whole pictures; tests/docs/test_interactive.py compares the two.
"use strict";

(function (fs) {
  const SUMS = 16; // that the description spells out
  const PHASES = 8; // that a picture lists

  // Rows, columns and terms (taps where they cross) of a layer on L frames.
  class Diagram {
    constructor(geometry, L) {
      this.geometry = geometry;
      this.L = L;
      this.outputLength = geometry.outputLength(L);
      this.extension = geometry.extension(L);
      const {isTransposed, paddingLeft, paddingRight} = geometry;
      const last = isTransposed ? this.outputLength : L;
      this.columns = fs.range(-paddingLeft, last + paddingRight).map(n => this.column(n));
      const frames = [...fs.range(0, L), ...this.extension].sort((a, b) => a - b);
      this.rows = isTransposed
        ? frames.map(t => this.frame(t))
        : fs.range(0, this.outputLength).map(number => ({number, kind: "sample"}));
      const shown = new Set(this.rows.map(row => row.number));
      this.terms = this.columns.flatMap(({number, kind}) =>
        geometry
          .tapsReaching(number + paddingLeft)
          .filter(([row]) => shown.has(row))
          .map(([row, tap]) => ({
            row, column: number, tap, counts: ["sample", "frame", "copy"].includes(kind),
          })),
      );
    }

    column(number) {
      const phase = this.geometry.phaseOf(number);
      if (!this.geometry.isTransposed) return {...this.frame(number), phase};
      const inside = 0 <= number && number < this.outputLength;
      return {number, kind: inside ? "sample" : "cropped", phase};
    }

    frame(number) {
      const source = this.geometry.source(number, this.L);
      const inside = 0 <= number && number < this.L;
      return {number, kind: inside ? "frame" : source === null ? "zero" : "copy", source};
    }

    get phases() {
      return this.geometry.phases();
    }
  }

  const count = (number, noun) =>
    `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`;
  const times = (factor, name) => (factor === 1 ? name : `${factor}*${name}`);
  const shown = padding =>
    Array.isArray(padding) ? `(${padding.join(", ")})` : `'${padding}'`;

  function named(noun, numbers) {
    const before = noun && `${noun}${numbers.length === 1 ? "" : "s"} `;
    if (numbers.length > 6) {
      return `${before}${numbers.slice(0, 5).join(", ")} and ${numbers.length - 5} more`;
    }
    const first = numbers.slice(0, -1).join(", ");
    return before + (first && `${first} and `) + numbers[numbers.length - 1];
  }

  function heading({geometry: g}) {
    const words = [`kernel_size=${g.kernelSize}`, `stride=${g.stride}`];
    if (!(Array.isArray(g.padding) && g.padding.every(p => p === 0))) {
      words.push(`padding=${shown(g.padding)}`);
    }
    if (g.outputPadding) words.push(`output_padding=${g.outputPadding}`);
    if (g.dilation !== 1) words.push(`dilation=${g.dilation}`);
    if (g.paddingMode !== "zeros") words.push(`padding_mode='${g.paddingMode}'`);
    return `${g.isTransposed ? "ConvTranspose1d" : "Conv1d"}: ${words.join(", ")}`;
  }

  function equation({geometry: g, L, outputLength}) {
    const crop = g.paddingLeft ? ` - ${g.paddingLeft}` : "";
    const place = `${times(g.stride, "t")} + ${times(g.dilation, "m")}${crop}`;
    const verb = L === 1 ? "makes" : "make";
    const sizes = `${count(L, "frame")} ${verb} ${count(outputLength, "sample")}`;
    return g.isTransposed
      ? `${sizes}: tap m of frame t lands on sample ${place}`
      : `${sizes}: tap m of sample t reads frame ${place}`;
  }

  function phaseLines({phases}) {
    if (phases.length < 2) return [];
    const lines = phases.slice(0, PHASES).map(taps => {
      const names = taps.slice(0, 6).map(tap => `w${tap}`);
      if (taps.length > 6) names.push(`... w${taps[taps.length - 1]}`);
      return `phase ${taps[0]}: ${names.join(" ")}`;
    });
    return phases.length > PHASES ? [...lines, "..."] : lines;
  }

  function notes(diagram) {
    return [...cropNotes(diagram), ...extensionNotes(diagram), ...emptyNotes(diagram)];
  }

  function cropNotes({geometry: g}) {
    if (!g.isTransposed) return [];
    const sides = [
      ...(g.paddingLeft ? [`${count(g.paddingLeft, "position")} on the left`] : []),
      ...(g.paddingRight ? [`${count(g.paddingRight, "position")} on the right`] : []),
    ];
    return sides.length ? [`The padding crops ${sides.join(" and ")} (×).`] : [];
  }

  function extensionNotes(diagram) {
    const {geometry: g, L, extension} = diagram;
    const zeros = g.paddingMode === "zeros";
    if (!g.isTransposed) {
      if (!extension.length) return [];
      const holds = zeros ? "zeros, absent from the sums" : copies(diagram);
      return [`The padding adds ${count(extension.length, "frame")}: ${holds}.`];
    }
    if (zeros) {
      if (!g.extensionLeft && !g.extensionRight) return [];
      return [
        `Frames before 0 and after ${L - 1} are zeros, absent from the sums (padding_mode='zeros').`,
      ];
    }
    if (!extension.length) return [];
    const frames = count(extension.length, "frame");
    return [`${frames} beyond the ends of the input reach samples: ${copies(diagram)}.`];
  }

  function copies({geometry, rows, columns}) {
    const examples = [...rows, ...columns]
      .filter(line => line.kind === "copy")
      .slice(0, 2)
      .map(line => `frame ${line.number} = x${line.source}`);
    return [`padding_mode='${geometry.paddingMode}'`, ...examples].join(", ");
  }

  // Samples without a term, and frames that no tap reads.
  function emptyNotes({geometry, columns, terms, outputLength}) {
    const [kind, verb, end] = geometry.isTransposed
      ? ["sample", "lands on", ": the bias alone."]
      : ["frame", "reads", "."];
    const reached = new Set(terms.map(term => term.column));
    const empty = columns
      .filter(line => line.kind === kind && !reached.has(line.number))
      .map(line => line.number);
    const found = empty.length ? [`No tap ${verb} ${named(kind, empty)}${end}`] : [];
    if (geometry.isTransposed) return found;
    const summed = new Set(terms.filter(term => term.counts).map(term => term.row));
    const bare = fs.range(0, outputLength).filter(n => !summed.has(n));
    return bare.length ? [...found, `${named("Sample", bare)}: zeros, so the bias alone.`] : found;
  }

  // Sample n as a sum; `bare` stands for a sum of nothing.
  function sum({geometry, L}, n, bare = "the bias alone") {
    const terms = geometry.taps(n, L).map(([t, m]) => `x${t}*w${m}`);
    return `y${n} = ${terms.join(" + ") || bare}`;
  }

  // The picture in words, for whoever cannot see it.
  function description(diagram) {
    const length = diagram.outputLength;
    const sums = fs.range(0, Math.min(SUMS, length)).map(n => sum(diagram, n));
    if (length > SUMS) sums.push(`and ${length - SUMS} more`);
    return [
      `${heading(diagram)}.`, `${equation(diagram)}.`, ...notes(diagram), `Sums: ${sums.join("; ")}.`,
    ].join(" ");
  }

  Object.assign(fs, {Diagram, count, description, equation, heading, notes, phaseLines, shown, sum});
})(window.fracstride);
