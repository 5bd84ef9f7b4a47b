// Draws clips: waveform and spectrogram with a line where the player is, words below it, a player, a download.
// props.value: {clips: [{title, seconds, rate, picture, audio, name, spread, marks: [[start, end, text], ...]},
//               ...],
//               forming: {done, total, picture, audio} or null, error}; audio is a data URL, or a file with its url.
const number = (value) => String(Number(value.toFixed(2)));

function axis(parent, seconds) {
  const ticks = node(parent, "div", { class: "ticks", "aria-hidden": "true" });
  for (const quarter of [0, 1, 2, 3, 4]) node(ticks, "span", {}, `${number((quarter * seconds) / 4)} s`);
}

function words(parent, clip, seek) {
  if (!clip.marks?.length) return;
  const row = node(parent, "div", { class: "marks" });
  for (const [start, end, text] of clip.marks) {
    const word = node(row, "button", { type: "button", class: "mark", title: `${number(start)} to ${number(end)} s` }, text);
    word.addEventListener("click", () => seek(start));
  }
}

function drawClip(list, clip) {
  const figure = node(list, "figure", { class: "clip" });
  node(figure, "figcaption", {}, `${clip.title}, ${number(clip.seconds)} s`);
  const frame = node(figure, "div", { class: "picture" });
  const top = number(clip.rate / 2000);
  const alt = `Waveform and spectrogram of ${clip.title}: ${number(clip.seconds)} s, up to ${top} kHz`;
  node(frame, "img", { src: clip.picture, alt });
  node(frame, "span", { class: "top", "aria-hidden": "true" }, `${top} kHz`);
  const line = node(frame, "span", { class: "line", "aria-hidden": "true" });
  axis(figure, clip.seconds);
  if (clip.spread) {
    const text = `Spread of ${clip.title}: mean mel spectrogram, its deviation over seeds, and its level in a band of one deviation`;
    node(figure, "img", { class: "spread", src: address(clip.spread), alt: text });
  }
  const player = document.createElement("audio");
  const seek = (time) => { player.currentTime = time; player.play(); };
  words(figure, clip, seek);
  const bar = node(figure, "div", { class: "bar" });
  bar.appendChild(player);
  for (const [key, value] of Object.entries({ controls: "", preload: "metadata", src: address(clip.audio) }))
    player.setAttribute(key, value);
  player.setAttribute("aria-label", `Play ${clip.title}`);
  if (clip.name) {
    const label = `Download ${clip.name}`;
    node(bar, "a", { class: "download", href: address(clip.audio), download: clip.name, "aria-label": label }, "Download");
  }
  const place = () => { line.style.left = `${(100 * player.currentTime) / Math.max(clip.seconds, 1e-3)}%`; };
  player.addEventListener("timeupdate", place);
  player.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== player) other.pause();
    const follow = () => { place(); if (!player.paused) requestAnimationFrame(follow); };
    follow();
  });
  frame.addEventListener("click", (event) => {
    const box = frame.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * clip.seconds);
  });
}

function drawForming(list, clip) {
  const figure = node(list, "figure", { class: "clip forming" });
  node(figure, "figcaption", { "aria-live": "off" }, `Step ${clip.done} of ${clip.total}: what the model estimates`);
  const frame = node(figure, "div", { class: "picture" });
  node(frame, "img", { src: clip.picture, alt: `Estimate after step ${clip.done} of ${clip.total}` });
  if (clip.audio) node(figure, "audio", { controls: "", src: clip.audio, "aria-label": "Play the estimate" });
}

let drawn = ""; // a value that comes again does not stop the player

function draw() {
  const list = element.querySelector(".list"), value = props.value, key = JSON.stringify(value);
  if (!list || (list.children.length && key === drawn)) return;
  drawn = key;
  list.replaceChildren();
  if (value?.error) node(list, "p", { class: "error", role: "alert" }, value.error);
  if (value?.forming) drawForming(list, value.forming);
  for (const clip of value?.clips ?? []) drawClip(list, clip);
  const listed = value?.clips ?? [];
  list.classList.toggle("many", listed.length > 2 && !listed.some((clip) => clip.spread));
  if (!list.children.length && list.dataset.hint) node(list, "p", { class: "hint" }, list.dataset.hint);
}

watch("value", draw);
draw();
