"use strict";
// Map of the features: show the image of the point nearest to the pointer or finger, or chosen by the arrow keys.
for (const map of document.querySelectorAll(".map")) {
  const { points, texts, columns, width, height } = JSON.parse(map.querySelector("script").textContent);
  const marker = map.querySelector(".marker");
  const preview = map.querySelector(".preview");
  const picture = preview.querySelector("div");
  const text = preview.querySelector("span");
  const chart = map.querySelector("svg");
  const scale = Math.max(1, Math.round(96 / Math.max(width, height)));
  let current = -1;

  const show = (index) => {
    current = index;
    const box = chart.getBoundingClientRect();
    const left = points[index][0] * box.width;
    const top = points[index][1] * box.height;
    marker.style.left = `${left}px`;
    marker.style.top = `${top}px`;
    picture.style.width = `${width}px`;
    picture.style.height = `${height}px`;
    picture.style.transform = `scale(${scale})`;
    picture.style.marginBottom = `${height * (scale - 1) + 4}px`;
    picture.style.marginRight = `${width * (scale - 1)}px`;
    const column = index % columns;
    picture.style.backgroundPosition = `${-column * width}px ${-((index - column) / columns) * height}px`;
    text.textContent = texts[index];
    marker.hidden = preview.hidden = false;
    const right = left + 16 + preview.offsetWidth > box.width;
    preview.style.left = `${Math.max(0, right ? left - 16 - preview.offsetWidth : left + 16)}px`;
    preview.style.top = `${Math.max(0, Math.min(top - 20, box.height - preview.offsetHeight))}px`;
  };
  const hide = () => { marker.hidden = preview.hidden = true; };
  const nearest = (event) => {
    const box = chart.getBoundingClientRect();
    let best = 0;
    let smallest = Infinity;
    points.forEach(([x, y], index) => {
      const distance = (x * box.width + box.left - event.clientX) ** 2 + (y * box.height + box.top - event.clientY) ** 2;
      if (distance < smallest) { smallest = distance; best = index; }
    });
    if (smallest < 900) show(best); else hide();
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
