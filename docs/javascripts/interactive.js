// The interactive page: its controls, and what they change.
"use strict";

(function (fs) {
  const page = document.getElementById("layer-explorer");
  if (!page) return;
  const control = name => page.querySelector(`[name="${name}"]`);
  const number = name => Number(control(name).value);
  const show = (name, text) => write(page.querySelector(`#${name}`), text);

  // Only where the text changes: a screen reader announces each writing.
  function write(part, text) {
    if (part.textContent !== text) part.textContent = text;
  }

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
    const sizes = given();
    let geometry = null;
    try {
      geometry = transposed ? new fs.Geometry(sizes) : new fs.Conv1dGeometry(sizes);
      picture(new fs.Diagram(geometry, number("L")));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      refuse(`ValueError: ${error.message}`);
    }
    values(numbers, geometry);
  }

  // What stands beside the sliders: a named padding has numbers of its own.
  function values(numbers, geometry) {
    for (const slider of page.querySelectorAll("label input")) {
      const side = {padding_left: "paddingLeft", padding_right: "paddingRight"}[slider.name];
      const named = side && !numbers;
      const value = named ? String(geometry ? geometry[side] : "-") : slider.value;
      write(slider.parentElement.querySelector(".value"), value);
      if (named) slider.setAttribute("aria-valuetext", value);
      else slider.removeAttribute("aria-valuetext");
    }
  }

  function refuse(message) {
    show("refusal", message);
    outdated(true);
  }

  // After a refusal the last picture that fits stays: pale, and not for screen readers.
  function outdated(is) {
    page.classList.toggle("is-refused", is);
    page.querySelector("#last").hidden = !is;
    control("sample").disabled = is;
    page.querySelector(".fs-scroll").tabIndex = is ? -1 : 0;
    for (const part of page.querySelectorAll(":scope > :not(form, #refusal), :scope > form ~ form")) {
      if (is) part.setAttribute("aria-hidden", "true");
      else part.removeAttribute("aria-hidden");
    }
  }

  let diagram = null;

  function picture(drawn) {
    diagram = drawn;
    outdated(false);
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
    control("sample").max = diagram.outputLength - 1;
    select(Math.min(number("sample"), diagram.outputLength - 1));
  }

  function sizes() {
    const {geometry, outputLength, phases} = diagram;
    const {isTransposed, latency, mode, overhang, stride} = geometry;
    show("L_out", String(outputLength));
    show("phases", String(phases.length));
    const left = geometry.mirrored(isTransposed ? geometry.extensionLeft : geometry.paddingLeft);
    const mirrored = `, once more than ${fs.count(left, "frame")} ${left === 1 ? "is" : "are"} there`;
    const waits = fs.count(latency, "sample") + (left ? mirrored : "");
    show("latency", mode.obstacle ? `none: ${mode.obstacle}` : waits);
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
    write(control("sample").parentElement.querySelector(".value"), String(n));
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
