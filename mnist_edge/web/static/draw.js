// The drawing field: mouse, finger or pen, and a pen that the arrow keys move.

const SIDE = 560; // of the bitmap
const READ = 256; // what preprocessing gets, which reduces larger pictures to this first
const PEN = 40;
const STEP = 14;
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

const context2d = (canvas) => canvas.getContext("2d", { willReadFrequently: true, alpha: false });

/** Wire a canvas and the mark of its keyboard pen; `changed` is called after every stroke, told whether it is blank. */
export function drawingField(canvas, mark, changed) {
  canvas.width = canvas.height = SIDE;
  const drawing = context2d(canvas);
  const small = context2d(Object.assign(document.createElement("canvas"), { width: READ, height: READ }));
  let last = null; // where the pointer was, while it is down
  let pen = [SIDE / 2, SIDE / 2];
  let penDown = false;

  function clear() {
    drawing.fillStyle = "#fff";
    drawing.fillRect(0, 0, SIDE, SIDE);
    pen = [SIDE / 2, SIDE / 2];
    lower(false);
    changed(true);
  }

  function line(from, to) {
    drawing.lineCap = drawing.lineJoin = "round";
    drawing.lineWidth = PEN;
    drawing.strokeStyle = "#000";
    drawing.beginPath();
    drawing.moveTo(...from);
    drawing.lineTo(...to);
    drawing.stroke();
    changed(false);
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
  }

  function lower(down) {
    penDown = down;
    mark.classList.toggle("down", down);
    mark.style.left = `${(100 * pen[0]) / SIDE}%`;
    mark.style.top = `${(100 * pen[1]) / SIDE}%`;
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || last) return; // the first finger draws
    canvas.setPointerCapture(event.pointerId);
    mark.hidden = true;
    last = { id: event.pointerId, at: place(event) };
    line(last.at, last.at);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== last?.id) return;
    const parts = event.getCoalescedEvents?.() ?? [];
    for (const part of parts.length ? parts : [event]) {
      const at = place(part);
      line(last.at, at);
      last.at = at;
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      if (event.pointerId === last?.id) last = null;
    });
  }

  // a stroke is no gesture: after one that looks like a fling, Chromium would swallow the next tap
  canvas.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === " ") {
      mark.hidden = false;
      lower(!penDown);
      if (penDown) line(pen, pen);
    } else if (event.key in ARROWS) {
      mark.hidden = false;
      const to = pen.map((value, axis) => Math.min(Math.max(value + ARROWS[event.key][axis], 0), SIDE));
      if (penDown || event.shiftKey) line(pen, to);
      pen = to;
      lower(penDown);
    } else {
      return;
    }
    event.preventDefault(); // the page would scroll
  });
  canvas.addEventListener("focus", () => (mark.hidden = !canvas.matches(":focus-visible")));
  canvas.addEventListener("blur", () => (mark.hidden = true));

  function rgba() {
    small.drawImage(canvas, 0, 0, READ, READ);
    return { data: small.getImageData(0, 0, READ, READ).data, width: READ, height: READ };
  }

  clear();
  return { clear, rgba };
}
