// The sizes of a layer, for the interactive page. Twin of src/fracstride/geometry.py,
// conv1d_geometry.py, lengths.py, reach.py and extension.py; tests/docs/test_interactive.py compares
// the two. Whole numbers in, whole numbers out; what does not fit is a RangeError with Python's words.
"use strict";

window.fracstride = window.fracstride || {};

(function (fs) {
  const mod = (a, b) => ((a % b) + b) % b;
  const range = (start, stop) => Array.from({length: Math.max(0, stop - start)}, (_, i) => start + i);
  const refuse = message => { throw new RangeError(message); };

  // Twin of MODES: the frame in [0, L) that a frame t outside it copies, or null for zero; whether
  // the mode mirrors; why a stream cannot have it.
  const MODES = {
    zeros: {source: () => null},
    reflect: {
      source(t, L) {
        if (L === 1) return 0;
        const period = 2 * (L - 1); // there and back, neither end twice
        return Math.min(mod(t, period), period - mod(t, period));
      },
      mirrors: true,
    },
    replicate: {source: (t, L) => (t < 0 ? 0 : L - 1)},
    circular: {
      source: (t, L) => mod(t, L),
      obstacle:
        "its first samples are made of the last frames, which a stream does not have yet",
    },
  };

  function asSize(name, value, minimum) {
    const wanted = minimum ? "a positive int" : "a non-negative int";
    return value >= minimum ? value : refuse(`${name} must be ${wanted}, got ${value}`);
  }

  // What both kinds of layer have. A subclass sets padding, paddingLeft and paddingRight.
  class AnyGeometry {
    constructor(given) {
      this.kernelSize = asSize("kernel_size", given.kernelSize, 1);
      this.stride = asSize("stride", given.stride, 1);
      this.dilation = asSize("dilation", given.dilation, 1);
      this.paddingMode = given.paddingMode;
      this.span = this.dilation * (this.kernelSize - 1) + 1;
    }

    get mode() {
      return MODES[this.paddingMode];
    }

    mirrored(frames) {
      return this.mode.mirrors ? frames : 0;
    }

    // The frame in [0, L) that frame t is a copy of; null for zero.
    source(t, L) {
      return 0 <= t && t < L ? t : this.mode.source(t, L);
    }

    // All [t, m] with t*s + m*d == position, by rising tap.
    tapsReaching(position, kernelSize = this.kernelSize) {
      return range(0, kernelSize)
        .filter(m => mod(position - m * this.dilation, this.stride) === 0)
        .map(m => [(position - m * this.dilation) / this.stride, m]);
    }

    // The taps of each phase, the phases by their first taps.
    phases() {
      const together = (a, b) => mod((a - b) * this.dilation, this.stride) === 0;
      return range(0, Math.min(this.kernelSize, this.stride))
        .map(first => range(0, this.kernelSize).filter(m => together(m, first)))
        .filter((taps, first) => taps[0] === first);
    }

    // The first tap of the phase that lands on a column; null if none does.
    phaseOf(column) {
      const most = Math.min(this.kernelSize, this.stride);
      const found = this.tapsReaching(column + this.paddingLeft, most);
      return found.length ? found[0][1] : null;
    }

    // [[frame, tap], ...] that sample n is the sum of; frames are folded back, zeros absent.
    taps(n, L) {
      return this.terms(n)
        .map(([t, m]) => [this.source(t, L), m])
        .filter(([t]) => t !== null);
    }
  }

  class Geometry extends AnyGeometry {
    constructor(given) {
      super(given);
      let a = asSize("output_padding", given.outputPadding, 0);
      const {span, stride, padding} = {...this, padding: given.padding};
      if (Array.isArray(padding)) {
        const most = Math.max(stride, this.dilation);
        [this.paddingLeft, this.paddingRight] = padding.map(p => asSize("padding", p, 0));
        if (a >= most) {
          refuse(`output_padding must be less than max(stride, dilation) = ${most}, got ${a}`);
        }
        this.outputPadding = a;
      } else {
        if (a) {
          refuse(
            `output_padding must be 0 with padding='${padding}', which makes ` +
              `L_out = L*stride by itself, got ${a}`,
          );
        }
        const excess = span - stride;
        a = Math.max(0, -excess);
        this.paddingLeft = padding === "same" ? Math.floor(Math.max(0, excess) / 2) : 0;
        this.paddingRight = Math.max(0, excess) - this.paddingLeft;
        this.outputPadding = 0;
      }
      this.padding = padding;
      this.totalOutputPadding = a;
      this.overhang = span - stride - this.paddingLeft - this.paddingRight + a;
      const reached = beyond => Math.max(0, Math.floor((span - 1 - beyond) / stride));
      this.extensionLeft = reached(this.paddingLeft);
      this.extensionRight = reached(this.paddingRight - a);
      this.latency = Math.max(this.paddingLeft, -this.overhang);
    }

    get isTransposed() {
      return true;
    }

    outputLength(L) {
      asSize("input length L", L, 1);
      const length = L * this.stride + this.overhang;
      if (length <= 0) {
        const [left, right] = [this.paddingLeft, this.paddingRight];
        refuse(
          `input length L must be at least ${L - Math.floor((length - 1) / this.stride)}, ` +
            `got ${L}: padding (${left}, ${right}) crops all of the ${length + left + right} samples`,
        );
      }
      return length;
    }

    finalLength(frames) {
      if (frames <= this.mirrored(this.extensionLeft)) return 0;
      return Math.max(0, frames * this.stride - this.latency);
    }

    // [[t, m], ...] of sample n, of all frames t.
    terms(n) {
      return this.tapsReaching(n + this.paddingLeft);
    }

    // The frames outside [0, L) of which some tap lands on a sample.
    extension(L) {
      if (this.paddingMode === "zeros") return [];
      const length = this.outputLength(L);
      const lands = t =>
        range(0, this.kernelSize)
          .map(m => t * this.stride + m * this.dilation - this.paddingLeft)
          .some(n => 0 <= n && n < length);
      const around = [range(-this.extensionLeft, 0), range(L, L + this.extensionRight)];
      return around.flat().filter(lands);
    }
  }

  class Conv1dGeometry extends AnyGeometry {
    constructor(given) {
      super(given);
      const {padding} = given;
      const total = this.span - 1;
      if (Array.isArray(padding)) {
        [this.paddingLeft, this.paddingRight] = padding.map(p => asSize("padding", p, 0));
      } else if (padding === "causal") {
        [this.paddingLeft, this.paddingRight] = [total, 0];
      } else if (this.stride !== 1) {
        refuse(`stride must be 1 for a Conv1d with padding='same', got ${this.stride}`);
      } else {
        this.paddingLeft = Math.floor(total / 2);
        this.paddingRight = total - this.paddingLeft;
      }
      this.padding = padding;
      this.latency = Math.max(0, -Math.floor((this.paddingLeft - this.span + 1) / this.stride));
    }

    get isTransposed() {
      return false;
    }

    outputLength(L) {
      asSize("input length L", L, 1);
      const [left, right] = [this.paddingLeft, this.paddingRight];
      const padded = L + left + right;
      if (padded < this.span) {
        refuse(
          `input length L must be at least ${this.span - left - right} for a kernel that spans ` +
            `${this.span} with padding (${left}, ${right}), got ${L}`,
        );
      }
      return Math.floor((padded - this.span) / this.stride) + 1;
    }

    finalLength(frames) {
      if (frames <= this.mirrored(this.paddingLeft)) return 0;
      const positions = Math.floor((frames + this.paddingLeft - this.span) / this.stride) + 1;
      return Math.max(0, positions);
    }

    // [[t, m], ...] of sample n, of all frames t.
    terms(n) {
      const first = n * this.stride - this.paddingLeft;
      return range(0, this.kernelSize).map(m => [first + m * this.dilation, m]);
    }

    // The frames that the padding adds.
    extension(L) {
      return [...range(-this.paddingLeft, 0), ...range(L, L + this.paddingRight)];
    }
  }

  Object.assign(fs, {Conv1dGeometry, Geometry, MODES, range});
})(window.fracstride);
