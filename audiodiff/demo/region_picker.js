// Draws a waveform and the regions on it. Dragging on it makes a region, dragging a region moves it, dragging one of its
// ends moves that end; a double click or Delete removes it. The ends are sliders for the keyboard and for screen readers.
// props.value: {seconds, channels: [[lows, highs], ...] of -1 to 1, regions: "0.2:0.4, 1:1.5"}
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000, HEIGHT = 100, STEP = 0.01, PAGE = 0.1, SHORTEST = 0.02; // seconds
let regions = [], drag = null, focused = null;

const seconds = () => props.value?.seconds ?? 0;
const clamp = (time) => Math.min(Math.max(Math.round(time / STEP) * STEP, 0), seconds());
const text = (time) => String(Number(time.toFixed(3)));

function parsed(written) {
  return (written ?? "").split(",").map((one) => one.trim().split(":")).filter((ends) => ends.length === 2)
    .map(([start, stop]) => [Number(start || 0), stop.trim() === "" ? seconds() : Number(stop)])
    .filter(([start, stop]) => start < stop && start < seconds()); // a half-typed one is not drawn
}

function unparsed(written) {
  return (written ?? "").split(",").map((one) => one.trim()).filter((one) => one && !parsed(one).length);
}

function merged(found) {
  const result = [];
  for (const [start, stop] of found.map((one) => [...one]).sort((a, b) => a[0] - b[0])) {
    const last = result[result.length - 1];
    if (last && start <= last[1]) last[1] = Math.max(last[1], stop);
    else result.push([start, stop]);
  }
  return result;
}

function shape(parent, name, attributes) {
  const child = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) child.setAttribute(key, value);
  parent.appendChild(child);
  return child;
}

function draw() {
  const svg = element.querySelector("svg"), hint = element.querySelector(".hint");
  if (!svg) return;
  svg.replaceChildren();
  hint.textContent = seconds() ? "Drag to select a region." : "The waveform appears here.";
  element.querySelector(".ticks").innerHTML = seconds()
    ? [0, 1, 2, 3, 4].map((fifth) => `<span>${text((fifth * seconds()) / 4)} s</span>`).join("") : "";
  if (!seconds()) return;
  const channels = props.value.channels, row = HEIGHT / channels.length, place = (time) => (time / seconds()) * WIDTH;
  channels.forEach(([lows, highs], number) => {
    const across = WIDTH / Math.max(lows.length - 1, 1), middle = (number + 0.5) * row;
    const point = (value, index) => `${(index * across).toFixed(1)},${(middle - value * row / 2).toFixed(1)}`;
    const points = [...highs.map(point), ...lows.map(point).reverse()];
    shape(svg, "polygon", { points: points.join(" "), class: "wave" });
  });
  regions.forEach(([start, stop], number) => {
    const width = Math.max(place(Math.min(stop, seconds())) - place(start), 1);
    shape(svg, "rect", { x: place(start), y: 0, width, height: HEIGHT, class: "region", "data-region": number });
    [["starts", start, 0], ["ends", stop, 1]].forEach(([verb, time, end]) => {
      const handle = shape(svg, "rect", {
        x: place(Math.min(time, seconds())) - 4, y: 0, width: 8, height: HEIGHT, class: "end", tabindex: 0, role: "slider",
        "data-region": number, "data-end": end, "aria-label": `Region ${number + 1} ${verb} at`, "aria-valuemin": 0,
        "aria-valuemax": text(seconds()), "aria-valuenow": text(time), "aria-valuetext": `${text(time)} seconds`,
      });
      if (focused && focused[0] === number && focused[1] === end) handle.focus();
    });
  });
}

function commit() {
  const moved = focused && regions[focused[0]];
  regions = merged(regions);
  if (moved) focused[0] = regions.findIndex(([start, stop]) => start <= moved[0] && moved[1] <= stop);
  const drawn = regions.map((ends) => ends.map(text).join(":"));
  const written = [...drawn, ...unparsed(props.value?.regions)].join(", "); // what is half typed stays
  if (written === (props.value?.regions ?? "")) return draw();
  props.value = { ...props.value, regions: written };
  draw();
  trigger("input");
}

function time(event) {
  const box = element.querySelector("svg").getBoundingClientRect();
  return clamp(((event.clientX - box.left) / box.width) * seconds());
}

element.addEventListener("pointerdown", (event) => {
  const svg = event.target.closest?.("svg");
  if (!svg || !seconds() || event.button) return;
  const { region, end } = event.target.dataset, at = time(event);
  focused = null;
  if (end !== undefined) drag = { number: Number(region), end: Number(end) };
  else if (region !== undefined) drag = { number: Number(region), from: at, ends: [...regions[Number(region)]] };
  else drag = { number: regions.push([at, at]) - 1, anchor: at };
  svg.setPointerCapture(event.pointerId);
  event.preventDefault();
});

element.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const at = time(event), ends = regions[drag.number];
  if (drag.anchor !== undefined) regions[drag.number] = [Math.min(drag.anchor, at), Math.max(drag.anchor, at)];
  else if (drag.end === 0) ends[0] = Math.min(at, ends[1] - SHORTEST);
  else if (drag.end === 1) ends[1] = Math.max(at, ends[0] + SHORTEST);
  else {
    const length = drag.ends[1] - drag.ends[0];
    const start = Math.min(Math.max(drag.ends[0] + at - drag.from, 0), Math.max(seconds() - length, 0));
    regions[drag.number] = [start, start + length];
  }
  draw();
});

for (const name of ["pointerup", "pointercancel"])
  element.addEventListener(name, () => {
    if (!drag) return;
    const [start, stop] = regions[drag.number];
    if (stop - start < SHORTEST) regions.splice(drag.number, 1); // a click
    drag = null;
    commit();
  });

element.addEventListener("dblclick", (event) => {
  const { region } = event.target.dataset;
  if (region === undefined) return;
  regions.splice(Number(region), 1);
  commit();
});

element.addEventListener("keydown", (event) => {
  const { region, end } = event.target.dataset;
  if (end === undefined) return;
  const number = Number(region), side = Number(end), ends = regions[number];
  const steps = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -PAGE, PageUp: PAGE };
  if (event.key === "Delete" || event.key === "Backspace") {
    regions.splice(number, 1);
    focused = null;
  } else if (event.key in steps || event.key === "Home" || event.key === "End") {
    const wanted = event.key === "Home" ? 0 : event.key === "End" ? seconds() : ends[side] + steps[event.key];
    ends[side] = side ? Math.max(clamp(wanted), ends[0] + SHORTEST) : Math.min(clamp(wanted), ends[1] - SHORTEST);
    focused = [number, side];
  } else return;
  event.preventDefault();
  commit();
});

watch("value", () => {
  if (drag) return;
  regions = parsed(props.value?.regions);
  draw();
});

regions = parsed(props.value?.regions);
draw();
