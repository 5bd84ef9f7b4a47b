// Draws what was generated: players, and the settings, to be loaded again or downloaded.
// props.value: {entries: [{tab, endpoint, time, clips, settings}, ...], chosen: {endpoint, settings} or null}
function use(entry) {
  props.value = { ...props.value, chosen: { endpoint: entry.endpoint, settings: entry.settings } };
  trigger("input");
}

function drawEntry(list, entry) {
  const box = node(list, "section", { class: "entry", "aria-label": `${entry.tab}, ${entry.time}` });
  node(box, "h3", {}, `${entry.tab}, ${entry.time}`);
  const clips = node(box, "div", { class: "clips" });
  for (const clip of entry.clips ?? []) {
    const figure = node(clips, "figure");
    node(figure, "img", { src: clip.picture, alt: `Waveform and spectrogram of ${clip.title}` });
    node(figure, "figcaption", {}, clip.title);
    node(figure, "audio", { controls: "", preload: "none", src: address(clip.audio), "aria-label": `Play ${clip.title}` });
  }
  const bar = node(box, "div", { class: "bar" });
  if (entry.endpoint) {
    const again = node(bar, "button", { type: "button", class: "again" }, "Use these settings");
    again.addEventListener("click", () => use(entry));
  }
  const text = JSON.stringify(entry.settings, null, 2);
  const file = `data:application/json;charset=utf-8,${encodeURIComponent(text)}`;
  node(bar, "a", { href: file, download: "settings.json" }, "Download settings");
}

function draw() {
  const list = element.querySelector(".entries");
  if (!list) return;
  list.replaceChildren();
  for (const entry of props.value?.entries ?? []) drawEntry(list, entry);
  if (!list.children.length) node(list, "p", {}, "What you generate is listed here until you leave the page.");
}

watch("value", draw);
draw();
