// Map of the features: points on a canvas, with zoom, colours, and the image of the point under the pointer.
const SHAPES = ["circle", "square", "triangle", "diamond", "down"];

const drawPoint = (context, x, y, radius, shape) => {
  context.beginPath();
  if (shape === "circle") context.arc(x, y, radius, 0, 2 * Math.PI);
  else if (shape === "square") context.rect(x - 0.9 * radius, y - 0.9 * radius, 1.8 * radius, 1.8 * radius);
  else {
    const corners = { triangle: [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]], down: [[0, 1.2], [1.1, -0.8], [-1.1, -0.8]], diamond: [[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]] }[shape];
    corners.forEach(([dx, dy], index) => context[index ? "lineTo" : "moveTo"](x + dx * radius, y + dy * radius));
  }
  context.fill();
};

const startMap = (map) => {
  const { points, texts, columns, side, colours } = JSON.parse(map.querySelector("script").textContent);
  const canvas = map.querySelector("canvas");
  const context = canvas.getContext("2d");
  const preview = map.querySelector(".preview");
  const sprite = preview.querySelector(".sprite");
  const figure = map.closest("figure");
  const legend = figure.querySelector(".legend");
  const menu = figure.querySelector("select");
  const bounds = [0, 1].map((axis) => [Math.min(...points.map((point) => point[axis])), Math.max(...points.map((point) => point[axis]))]);
  const middle = bounds.map(([low, high]) => (low + high) / 2);
  const view = { width: 0, height: 0, zoom: 1, x: middle[0], y: middle[1] };
  let colour = colours[0];
  let emphasised = null;
  let current = -1;

  // The page's colours, as the browser resolves them for light or dark mode.
  const probe = document.createElement("span");
  probe.hidden = true;
  map.append(probe);
  const resolve = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const styleOf = (order) => ({ name: `series-${order % 10}`, shape: SHAPES[(order + Math.floor(order / 10)) % SHAPES.length] });
  const mixed = (low, high, share) => {
    const [from, to] = [low, high].map((text) => text.match(/[\d.]+/g).map(Number));
    return `rgb(${from.slice(0, 3).map((value, index) => Math.round(value + share * (to[index] - value))).join(" ")})`;
  };
  const scale = () => view.zoom * Math.min(...bounds.map(([low, high], axis) => ([view.width, view.height][axis] - 40) / Math.max(high - low, 1e-6)));
  const place = ([x, y]) => [view.width / 2 + (x - view.x) * scale(), view.height / 2 + (y - view.y) * scale()];

  const draw = () => {
    if (!view.width) return;
    const ratio = devicePixelRatio;
    canvas.width = Math.round(view.width * ratio);
    canvas.height = Math.round(view.height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const radius = Math.min(7, 3.2 * Math.sqrt(view.zoom));
    const order = colour?.kind === "groups" ? new Map(colour.names.map(([number], index) => [number, index])) : null;
    const shades = Array.from({ length: 10 }, (_, index) => resolve(`series-${index}`));
    const [low, high] = [resolve("series-1"), resolve("series-0")];
    const at = points.map(place);
    const inside = ([x, y]) => x > -9 && y > -9 && x < view.width + 9 && y < view.height + 9;
    at.forEach((point, index) => {
      if (!inside(point)) return;
      const value = colour?.values[index];
      const place = order?.get(value) ?? 0;
      context.globalAlpha = emphasised !== null && value !== emphasised ? 0.1 : 0.8;
      context.fillStyle = colour?.kind === "scale" ? mixed(low, high, value) : shades[place % 10];
      drawPoint(context, ...point, radius, order ? styleOf(place).shape : "circle");
    });
    context.globalAlpha = 1;
    if (order && order.size <= 20 && colour.name !== "split") label(at, inside);
    if (current >= 0) {
      context.strokeStyle = resolve("ink");
      context.lineWidth = 2;
      context.beginPath();
      context.arc(...at[current], radius + 4, 0, 2 * Math.PI);
      context.stroke();
    }
  };
  const label = (at, inside) => {
    context.font = "600 13px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 4;
    context.lineJoin = "round";
    context.strokeStyle = resolve("surface");
    context.fillStyle = resolve("ink");
    const median = (values) => values.toSorted((first, second) => first - second)[values.length >> 1];
    for (const [number, name] of colour.names) {
      const own = at.filter((_, index) => colour.values[index] === number);
      const point = [median(own.map(([x]) => x)), median(own.map(([, y]) => y))];
      if (!inside(point)) continue;
      const text = name.length > 20 ? `${name.slice(0, 19)}…` : name;
      context.strokeText(text, ...point);
      context.fillText(text, ...point);
    }
  };

  const show = (index) => {
    current = index;
    draw();
    const [x, y] = place(points[index]);
    const size = 128;
    sprite.style.backgroundSize = `${columns * size}px`;
    sprite.style.backgroundPosition = `${-(index % columns) * size}px ${-Math.floor(index / columns) * size}px`;
    sprite.classList.toggle("small", side <= 48);
    preview.querySelector("span").textContent = texts[index];
    preview.hidden = false;
    const left = x + 16 + preview.offsetWidth > view.width ? x - 16 - preview.offsetWidth : x + 16;
    preview.style.left = `${Math.max(0, Math.min(left, view.width - preview.offsetWidth))}px`;
    preview.style.top = `${Math.max(0, Math.min(y - 20, view.height - preview.offsetHeight))}px`;
  };
  const hide = () => {
    current = -1;
    preview.hidden = true;
    draw();
  };
  const nearest = (x, y, reach) => {
    const at = points.map(place).map(([left, top]) => Math.hypot(left - x, top - y));
    const best = at.indexOf(Math.min(...at));
    return at[best] < reach ? best : -1;
  };
  const neighbour = (dx, dy) => {
    if (current < 0) return nearest(view.width / 2, view.height / 2, Infinity);
    const [x, y] = place(points[current]);
    let best = current;
    let smallest = Infinity;
    points.map(place).forEach(([left, top], index) => {
      const along = (left - x) * dx + (top - y) * dy;
      const across = Math.abs((left - x) * dy) + Math.abs((top - y) * dx);
      const cost = along + 2 * across;
      if (along > 0.5 && along >= across && cost < smallest) { smallest = cost; best = index; }
    });
    return best;
  };

  const sheet = new Image();
  const enlarge = (index) => {
    const get = async (number) => {
      if (!sheet.src) sheet.src = getComputedStyle(sprite).backgroundImage.slice(5, -2);
      await sheet.decode();
      const part = document.createElement("canvas");
      part.width = part.height = side;
      part.getContext("2d").drawImage(sheet, (number % columns) * side, Math.floor(number / columns) * side, side, side, 0, 0, side, side);
      return { src: part.toDataURL(), text: texts[number] };
    };
    openViewer({ count: points.length, get }, index, (last) => { map.focus(); show(last); });
  };

  const moveTo = () => {
    view.x = Math.max(bounds[0][0], Math.min(bounds[0][1], view.x));
    view.y = Math.max(bounds[1][0], Math.min(bounds[1][1], view.y));
    map.style.touchAction = view.zoom > 1 ? "none" : "pan-y";
    const [x, y] = current < 0 ? [-1, -1] : place(points[current]);
    if (!preview.hidden && x >= 0 && y >= 0 && x <= view.width && y <= view.height) show(current);
    else hide();
  };
  const zoom = (factor, x = view.width / 2, y = view.height / 2) => {
    const before = scale();
    view.zoom = factor ? Math.max(1, Math.min(60, view.zoom * factor)) : 1;
    view.x = view.zoom === 1 ? middle[0] : view.x + (x - view.width / 2) * (1 / before - 1 / scale());
    view.y = view.zoom === 1 ? middle[1] : view.y + (y - view.height / 2) * (1 / before - 1 / scale());
    moveTo();
  };
  const pan = (dx, dy) => {
    view.x -= dx / scale();
    view.y -= dy / scale();
    moveTo();
  };

  const pointers = new Map();
  let moved = 0;
  const local = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const spread = () => {
    const [first, second] = [...pointers.values()];
    return Math.hypot(first[0] - second[0], first[1] - second[1]);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, local(event));
    moved = pointers.size > 1 ? Infinity : 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = local(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      const found = nearest(x, y, 24);
      if (found !== current) { if (found < 0) hide(); else show(found); }
      return;
    }
    const width = pointers.size === 2 ? spread() : 0;
    pointers.set(event.pointerId, [x, y]);
    moved += Math.hypot(x - before[0], y - before[1]);
    if (pointers.size === 2) zoom(spread() / Math.max(width, 1), x, y);
    else if (moved > 5 && view.zoom > 1) pan(x - before[0], y - before[1]);
  });
  canvas.addEventListener("pointerup", (event) => {
    const [x, y] = local(event);
    const found = moved > 5 ? -1 : nearest(x, y, 24);
    pointers.delete(event.pointerId);
    if (found < 0) return;
    // A finger cannot hover: its first touch shows the image, its second enlarges it.
    if (event.pointerType === "mouse" || (found === current && !preview.hidden)) enlarge(found);
    else show(found);
  });
  canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && !pointers.size) hide(); });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...local(event));
  }, { passive: false });
  map.addEventListener("keydown", (event) => {
    const direction = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    const factor = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (direction && event.shiftKey) pan(-60 * direction[0], -60 * direction[1]);
    else if (direction) follow(neighbour(...direction));
    else if (factor !== undefined) zoom(factor);
    else if (event.key === "Enter" && current >= 0) enlarge(current);
    else if (event.key === "Escape") hide();
    else return;
    event.preventDefault();
  });
  const follow = (index) => {
    const [x, y] = place(points[index]);
    if (x < 0 || y < 0 || x > view.width || y > view.height) [view.x, view.y] = points[index];
    show(index);
  };

  const explain = () => {
    legend.replaceChildren();
    if (!colour) return;
    if (colour.kind === "scale") {
      const bar = document.createElement("span");
      bar.className = "scale";
      legend.append("0 ", bar, ` 1 ${colour.title}`);
      return;
    }
    if (colour.names.length > 60) {
      legend.textContent = `${colour.names.length} groups; some share a colour and a shape.`;
      return;
    }
    colour.names.forEach(([number, name], order) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", String(emphasised === number));
      const mark = document.createElement("canvas");
      mark.width = mark.height = 14;
      const { name: variable, shape } = styleOf(order);
      const drawing = mark.getContext("2d");
      drawing.fillStyle = resolve(variable);
      drawPoint(drawing, 7, 7, 5, shape);
      const count = colour.values.filter((value) => value === number).length;
      button.append(mark, ` ${name} (${count})`);
      button.addEventListener("click", () => {
        emphasised = emphasised === number ? null : number;
        [...legend.children].forEach((each, index) => each.setAttribute("aria-pressed", String(colour.names[index][0] === emphasised)));
        draw();
      });
      legend.append(button);
    });
  };
  menu?.addEventListener("change", () => {
    colour = colours.find(({ name }) => name === menu.value);
    emphasised = null;
    explain();
    draw();
  });
  for (const button of figure.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  }
  const fit = () => {
    view.width = map.clientWidth;
    view.height = Math.round(Math.min(0.75 * view.width + 60, 620));
    canvas.style.height = `${view.height}px`;
    preview.hidden = true;
    draw();
  };
  new ResizeObserver(fit).observe(map);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { explain(); draw(); });
  explain();
  fit();
};
document.querySelectorAll(".map").forEach(startMap);
