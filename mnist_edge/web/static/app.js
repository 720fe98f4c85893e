// The page: files.json says what can be opened, the drawing goes through preprocessing into the chosen file.

import { isKnown, UNKNOWN } from "./contract.js";
import { drawingField } from "./draw.js";
import { keep } from "./offline.js";
import { greyOf, mnistLike, NoDigit } from "./picture.js";

const $ = (id) => document.getElementById(id);
const RECENT = 25; // calls that the shown time is the median of
const QUIET = 500; // ms without a change before the answer is read out
const QUESTION = $("checked").value; // what stands beside the button until it is pressed
const percent = (share) => `${(100 * share).toFixed(1)} %`;

const bars = Array.from({ length: 10 }, (_, digit) => {
  const row = document.createElement("li");
  row.innerHTML = `<b>${digit}</b><span class="bar" aria-hidden="true"><i></i></span><span class="share">–</span>`;
  $("bars").append(row);
  return { row, bar: row.querySelector("i"), share: row.querySelector(".share") };
});

let about; // files.json
let chosen = null; // { file, run }: the file that is open
const opened = new Map(); // by name, so that switching back costs nothing
let asked = 0; // how often a file was chosen: what comes late of an earlier one is dropped
let times = [];
let wanted = false; // the drawing has changed since the last prediction
let busy = false;
let spoken;
let untouched = true; // nothing is drawn, so there is nothing to say of it
let why = ""; // there is no digit in what is drawn

/** Classify Uint8Array(784), 0 black to 255 white, with the chosen file: Float32Array(10). */
export async function classify(pixels) {
  const { probabilities, milliseconds } = await chosen.run(pixels);
  times = [...times.slice(1 - RECENT), milliseconds];
  const median = times.toSorted((one, other) => one - other)[times.length >> 1];
  $("latency").textContent = `${median.toPrecision(2)} ms`;
  return probabilities;
}

/** The pixels of what is drawn, or null where there is no digit; `why` is then the reason. */
export function pixelsDrawn() {
  why = "";
  if (untouched) return null;
  const { data, width, height } = field.rgba();
  try {
    return mnistLike(greyOf(data, width, height), width, height);
  } catch (error) {
    if (!(error instanceof NoDigit)) throw error;
    why = error.message;
    return null;
  }
}

/** Predict once a frame for as long as the drawing changes; with no file open, `open` comes back to it. */
async function predict() {
  wanted = true;
  if (busy) return;
  busy = true;
  try {
    while (wanted && chosen) {
      await new Promise(requestAnimationFrame);
      if (!chosen) break;
      wanted = false;
      const number = asked;
      const pixels = pixelsDrawn();
      try {
        let shares = pixels && (await classify(pixels));
        if (number !== asked) continue;
        if (shares && !isKnown(shares, chosen.file.contract)) [why, shares] = [UNKNOWN, null];
        show(pixels, shares);
      } catch (error) {
        if (number === asked) throw error;
      }
    }
  } finally {
    busy = false;
  }
}

function show(pixels, shares) {
  showSeen(pixels);
  showAnswer(shares);
}

function showSeen(pixels) {
  const image = new ImageData(28, 28);
  image.data.fill(255);
  for (let i = 0; i < 784; i++) image.data.fill(pixels?.[i] ?? 0, 4 * i, 4 * i + 3);
  $("seen").getContext("2d").putImageData(image, 0, 0);
}

function showAnswer(shares) {
  const none = !chosen ? "no answer" : untouched ? "" : "no digit found";
  $("why").textContent = chosen && !shares ? why.replace("no digit found: ", "") : "";
  const best = shares ? shares.indexOf(Math.max(...shares)) : -1;
  bars.forEach(({ row, bar, share }, digit) => {
    row.classList.toggle("best", digit === best);
    bar.style.transform = `scaleX(${shares?.[digit] ?? 0})`;
    share.textContent = shares ? percent(shares[digit]) : "–";
  });
  $("digit").classList.toggle("none", best < 0);
  $("digit").textContent = best < 0 ? none : best;
  if (best >= 0 && !performance.getEntriesByName("first-prediction").length) performance.mark("first-prediction");
  clearTimeout(spoken);
  spoken = setTimeout(() => {
    $("status").textContent = best < 0 ? (chosen && why ? why : none).replace("n", "N") : `${best}, ${percent(shares[best])}`;
  }, QUIET);
}

async function bytesOf(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${answer.statusText}`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function open(file) {
  const number = ++asked;
  chosen = null;
  $("error").textContent = "";
  $("check").disabled = true;
  $("checked").value = QUESTION;
  try {
    await load(file);
  } catch (error) {
    if (number !== asked) return;
    $("file").textContent = `${file.name} could not be opened.`;
    show(null, null);
    throw error;
  }
  if (number !== asked) return; // another was chosen meanwhile
  const { run, by } = opened.get(file.name);
  chosen = { file, run };
  times = [];
  const { input, output } = file.contract;
  const end = (tensor) => `${tensor.dtype} ${tensor.shape.map((size) => size ?? "n").join("×")}`;
  const size = `${(file.bytes / 1000).toFixed(1)} kB`;
  $("file").textContent = `${file.name}, ${size}, ${end(input)} in, ${end(output)} out; ${by}`;
  $("check").disabled = !file.host;
  if (!file.host) $("checked").value = "reference.npz has no outputs of this file.";
  await predict();
}

async function load(file) {
  if (!opened.has(file.name)) {
    const [runtime, bytes] = await Promise.all([import(`./run-${file.format}.js`), bytesOf(`files/${encodeURIComponent(file.name)}`)]);
    const run = await runtime.open(bytes, file.contract);
    await run(new Uint8Array(784)); // the first call allocates
    opened.set(file.name, { run, by: `${runtime.packageName} ${about.runtimes[runtime.packageName]}` });
  }
}

/** Compare the chosen file with what it gave on the exporting host, on reference digits; limits are the manifest's. */
export async function check() {
  const { file, run } = chosen;
  const [images, recorded] = await Promise.all([about.reference, `reference/${encodeURIComponent(file.name)}`].map(bytesOf));
  const expected = new Float32Array(recorded.buffer);
  const count = images.length / 784;
  let same = 0, largest = 0;
  for (let i = 0; i < count; i++) {
    const { probabilities } = await run(images.subarray(784 * i, 784 * (i + 1)));
    const theirs = expected.subarray(10 * i, 10 * (i + 1));
    const difference = Math.max(...probabilities.map((value, digit) => Math.abs(value - theirs[digit])));
    const agree = probabilities.indexOf(Math.max(...probabilities)) === theirs.indexOf(Math.max(...theirs));
    if (agree && difference <= file.host.allowed) same++;
    largest = Math.max(largest, difference);
  }
  return { name: file.name, same, count, largest, allowed: file.host.allowed };
}

function listFiles() {
  for (const [number, file] of about.files.entries()) {
    let group = $("files").querySelector(`[data-format="${file.format}"]`);
    if (!group) {
      group = Object.assign(document.createElement("div"), { className: "group" });
      group.dataset.format = file.format;
      group.append(Object.assign(document.createElement("span"), { textContent: `.${file.format}` }));
      $("files").append(group);
    }
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "file", value: file.name });
    radio.checked = number === 0;
    radio.setAttribute("aria-label", file.name);
    radio.addEventListener("change", () => guarded(() => open(file)));
    const short = file.name.replace(`${about.model}-`, "").replace(/\.[^.]+$/, "");
    label.append(radio, Object.assign(document.createElement("span"), { textContent: short }));
    group.append(label);
  }
}

/** Errors are shown on the page: a drawing that silently stays without answer helps no one. */
async function guarded(work) {
  try {
    await work();
  } catch (error) {
    $("error").textContent = `It does not work in this browser: ${error.message}`;
    throw error;
  }
}

const field = drawingField($("drawing"), $("pen"), (blank) => {
  $("hint").hidden = !blank;
  untouched = blank;
  guarded(predict);
});
$("clear").addEventListener("click", field.clear);
document.addEventListener("keydown", (event) => event.key === "Escape" && field.clear());
$("check").addEventListener("click", () =>
  guarded(async () => {
    const number = asked;
    $("checked").value = "…";
    try {
      const { name, same, count, largest, allowed } = await check();
      if (number !== asked) return;
      $("checked").value =
        `${name}: ${same} of ${count} as on the exporting host, largest difference ${largest.toExponential(1)}, allowed ${allowed.toExponential(1)}`;
    } catch (error) {
      if (number !== asked) return;
      $("checked").value = QUESTION;
      throw error;
    }
  }),
);

await guarded(async () => {
  about = JSON.parse(new TextDecoder().decode(await bytesOf("files.json")));
  $("model").textContent = about.model;
  listFiles();
  await open(about.files[0]);
  performance.mark("ready");
});
$("offline").textContent = await keep(about).catch((error) => `Not ready to work offline: ${error.message}`);
