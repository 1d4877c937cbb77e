"use strict";
// The map of features: the nearest point's image, under the pointer, the finger, or by the arrow keys.
for (const map of document.querySelectorAll(".map")) {
  const { points, texts, columns, width, height } = JSON.parse(map.querySelector("script").textContent);
  const found = map.querySelector(".found");
  const shown = map.querySelector(".shown");
  const picture = shown.querySelector("div");
  const text = shown.querySelector("span");
  const frame = map.querySelector("svg");
  const scale = Math.max(1, Math.round(96 / Math.max(width, height)));
  let current = -1;

  const show = (place) => {
    current = place;
    const box = frame.getBoundingClientRect();
    const left = points[place][0] * box.width;
    const top = points[place][1] * box.height;
    found.style.left = `${left}px`;
    found.style.top = `${top}px`;
    picture.style.width = `${width}px`;
    picture.style.height = `${height}px`;
    picture.style.transform = `scale(${scale})`;
    picture.style.marginBottom = `${height * (scale - 1) + 4}px`;
    picture.style.marginRight = `${width * (scale - 1)}px`;
    const column = place % columns;
    picture.style.backgroundPosition = `${-column * width}px ${-((place - column) / columns) * height}px`;
    text.textContent = texts[place];
    found.hidden = shown.hidden = false;
    const right = left + 16 + shown.offsetWidth > box.width;
    shown.style.left = `${Math.max(0, right ? left - 16 - shown.offsetWidth : left + 16)}px`;
    shown.style.top = `${Math.max(0, Math.min(top - 20, box.height - shown.offsetHeight))}px`;
  };
  const hide = () => { found.hidden = shown.hidden = true; };
  const nearest = (event) => {
    const box = frame.getBoundingClientRect();
    let best = 0;
    let least = Infinity;
    points.forEach(([x, y], place) => {
      const away = (x * box.width + box.left - event.clientX) ** 2 + (y * box.height + box.top - event.clientY) ** 2;
      if (away < least) { least = away; best = place; }
    });
    if (least < 900) show(best); else hide();
  };
  map.addEventListener("pointermove", nearest);
  map.addEventListener("pointerdown", nearest);
  map.addEventListener("pointerleave", hide);
  map.addEventListener("blur", hide);
  map.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show((current + step + points.length) % points.length);
  });
}
