// The interactive page: its controls, and what they change.
"use strict";

(function (fs) {
  const page = document.getElementById("layer-explorer");
  if (!page) return;
  const control = name => page.querySelector(`[name="${name}"]`);
  const number = name => Number(control(name).value);
  const show = (name, text) => { page.querySelector(`#${name}`).textContent = text; };

  function given() {
    const named = control("padding").value;
    return {
      kernelSize: number("kernel_size"),
      stride: number("stride"),
      padding: named === "numbers" ? [number("padding_left"), number("padding_right")] : named,
      outputPadding: number("output_padding"),
      dilation: number("dilation"),
      paddingMode: control("padding_mode").value,
    };
  }

  function update() {
    const transposed = control("layer").value === "ConvTranspose1d";
    const numbers = control("padding").value === "numbers";
    control("output_padding").disabled = !transposed;
    for (const side of ["left", "right"]) control(`padding_${side}`).disabled = !numbers;
    for (const output of page.querySelectorAll("label output")) {
      output.textContent = output.parentElement.querySelector("input").value;
    }
    const sizes = given();
    try {
      const geometry = transposed ? new fs.Geometry(sizes) : new fs.Conv1dGeometry(sizes);
      picture(new fs.Diagram(geometry, number("L")));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      refuse(`ValueError: ${error.message}`);
    }
  }

  function refuse(message) {
    show("refusal", message);
    page.classList.add("is-refused"); // the last picture stays, pale
    control("sample").disabled = true;
  }

  let diagram = null;

  function picture(drawn) {
    diagram = drawn;
    page.classList.remove("is-refused");
    show("refusal", "");
    fs.draw(page.querySelector("svg"), diagram);
    show("heading", fs.heading(diagram));
    show("equation", fs.equation(diagram));
    const notes = [...fs.phaseLines(diagram), ...fs.notes(diagram)].map(note => {
      const item = document.createElement("li");
      item.textContent = note;
      return item;
    });
    page.querySelector("#notes").replaceChildren(...notes);
    sizes();
    show("python", python());
    control("sample").disabled = false;
    control("sample").max = diagram.outputLength - 1;
    select(Math.min(number("sample"), diagram.outputLength - 1));
  }

  function sizes() {
    const {geometry, outputLength, phases} = diagram;
    const {isTransposed, latency, mode, overhang, stride} = geometry;
    show("L_out", String(outputLength));
    show("phases", String(phases.length));
    show("latency", mode.obstacle ? `none: ${mode.obstacle}` : fs.count(latency, "sample"));
    const added = isTransposed ? overhang : geometry.paddingLeft + geometry.paddingRight - geometry.span;
    const plus = added ? ` ${added < 0 ? "-" : "+"} ${Math.abs(added)}` : "";
    show("formula", isTransposed ? `L*${stride}${plus}` : `floor((L${plus})/${stride}) + 1`);
  }

  // The same picture in Python.
  function python() {
    const {geometry: g, L} = diagram;
    const words = [`kernel_size=${g.kernelSize}`, `stride=${g.stride}`];
    words.push(`padding=${fs.shown(g.padding)}`);
    if (g.outputPadding) words.push(`output_padding=${g.outputPadding}`);
    words.push(`dilation=${g.dilation}`, `padding_mode='${g.paddingMode}'`);
    const name = g.isTransposed ? "Geometry" : "Conv1dGeometry";
    return `fs.draw(fs.${name}(${words.join(", ")}), L=${L})`;
  }

  // Picks out one sample: its terms, the frames that they take, and its sum.
  function select(n) {
    control("sample").value = n;
    control("sample").parentElement.querySelector("output").textContent = n;
    show("sum", fs.sum(diagram, n));
    const frames = new Set(diagram.geometry.taps(n, diagram.L).map(([t]) => String(t)));
    for (const part of page.querySelectorAll("svg g")) {
      const {sample, source} = part.dataset;
      part.classList.toggle("is-selected", sample === String(n) || frames.has(source));
    }
  }

  page.addEventListener("input", event => {
    if (event.target.name === "sample") select(number("sample"));
    else update();
  });
  for (const kind of ["pointerover", "click"]) {
    page.querySelector("svg").addEventListener(kind, event => {
      const part = event.target.closest("[data-sample]");
      if (part && !page.classList.contains("is-refused")) select(Number(part.dataset.sample));
    });
  }
  update();
})(window.fracstride);
