// Grid of images. Only the rows near the visible part are in the document, so 100 000 images scroll smoothly.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { thumbnail } from "./api";
import { Caption, describeImage } from "./caption";
import { correctByKey, pressesControl, useKeys } from "./keys";
import { describe, details, dialog, images, nameClass, openClass, query, route, selected, viewed } from "./state";

const GAP = 8;
const CAPTION = 40;
const OVERSCAN = 2;
const DRAG = 6; // pixels after which a press becomes a selection rectangle

interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export function Gallery() {
  const scroller = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [height, setHeight] = useState(0);
  const [scrolled, setScrolled] = useState(0);
  const [cursor, setCursor] = useState(0);
  const [size, setSize] = useState(176);
  const [box, setBox] = useState<Box | null>(null);
  const anchor = useRef(0);
  const list = images.value;

  useLayoutEffect(() => {
    const element = scroller.current!;
    const observer = new ResizeObserver(() => {
      setWidth(element.clientWidth);
      setHeight(element.clientHeight);
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    scroller.current!.scrollTop = 0;
    setScrolled(0);
    setCursor(0);
    anchor.current = 0;
  }, [route.value, query.value]);

  const shown = Math.min(size, Math.max(128, (width - 3 * GAP) / 2));
  const columns = Math.max(1, Math.floor((width - GAP) / (shown + GAP)));
  const tile = (width - GAP * (columns + 1)) / columns;
  const row = tile + CAPTION + GAP;
  const rows = Math.ceil(list.length / columns);
  const firstRow = Math.max(0, Math.floor(scrolled / row) - OVERSCAN);
  const lastRow = Math.min(rows, Math.ceil((scrolled + height) / row) + OVERSCAN);
  const visible = width ? list.slice(firstRow * columns, lastRow * columns) : [];
  useEffect(() => void describe(visible));

  const place = (position: number) => ({
    left: GAP + (position % columns) * (tile + GAP),
    top: GAP + Math.floor(position / columns) * row,
  });

  const select = (position: number, how: "only" | "toggle" | "range") => {
    const index = list[position];
    if (index === undefined) return;
    const next = new Set(how === "only" ? [] : selected.value);
    if (how === "range") {
      const [from, to] = [Math.min(anchor.current, position), Math.max(anchor.current, position)];
      list.slice(from, to + 1).forEach((one) => next.add(one));
    } else if (how === "toggle" && next.has(index)) {
      next.delete(index);
    } else {
      next.add(index);
    }
    if (how !== "range") anchor.current = position;
    selected.value = next;
    setCursor(position);
  };

  const reveal = (position: number) => {
    const element = scroller.current!;
    const { top } = place(position);
    if (top < element.scrollTop) element.scrollTop = top - GAP;
    if (top + row > element.scrollTop + element.clientHeight) element.scrollTop = top + row - element.clientHeight;
  };

  const go = (position: number, extend: boolean) => {
    const next = Math.min(list.length - 1, Math.max(0, position));
    setCursor(next);
    reveal(next);
    if (extend) select(next, "range");
    else anchor.current = next;
  };

  useKeys((event) => {
    if (viewed.value !== null || pressesControl(event)) return;
    const page = Math.max(1, Math.floor(height / row)) * columns;
    const steps: Record<string, number> = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns,
      ArrowUp: -columns,
      PageDown: page,
      PageUp: -page,
      Home: -list.length,
      End: list.length,
    };
    const step = steps[event.key];
    const here = list[cursor];
    // The cursor is only visible while the gallery has the focus.
    const focused = document.activeElement === scroller.current;
    const atCursor = focused && here !== undefined;
    const indices = selected.value.size ? [...selected.value] : atCursor ? [here] : [];
    const card = openClass.value;
    const control = event.ctrlKey || event.metaKey;
    const handled = () => event.preventDefault();
    if (step !== undefined) {
      handled();
      scroller.current!.focus();
      go(focused ? cursor + step : cursor, event.shiftKey);
    } else if (control && event.key.toLowerCase() === "a") {
      handled();
      selected.value = new Set(list);
    } else if (control || event.altKey) {
      return;
    } else if (event.key === " " && atCursor) {
      handled();
      select(cursor, "toggle");
    } else if (event.key === "Enter" && atCursor) {
      handled();
      viewed.value = here;
    } else if (event.key === "Escape") {
      selected.value = new Set();
    } else if (event.key === "l" && indices.length) {
      location.hash = `#/like/${atCursor ? here : indices[0]}`;
    } else if (event.key === "n" && card && card.number >= 0) {
      handled();
      nameClass(card);
    } else if (event.key === "s" && card && card.number >= 0 && card.size > 1) {
      handled();
      dialog.value = "split";
    } else {
      correctByKey(event, indices);
    }
  });

  // A press with the mouse selects an image; dragging selects all images that touch the rectangle.
  const onPress = (event: PointerEvent) => {
    if (event.button !== 0 || event.pointerType !== "mouse") return;
    const element = scroller.current!;
    const area = element.getBoundingClientRect();
    if (event.clientX > area.left + element.clientWidth) return; // the scroll bar
    const point = (one: PointerEvent) => ({
      x: one.clientX - area.left,
      y: one.clientY - area.top + element.scrollTop,
    });
    const start = point(event);
    const before = event.shiftKey || event.ctrlKey || event.metaKey ? new Set(selected.value) : new Set<number>();
    let dragged = false;
    const onMove = (next: PointerEvent) => {
      const now = point(next);
      if (!dragged && Math.hypot(now.x - start.x, now.y - start.y) < DRAG) return;
      dragged = true;
      const drawn = {
        left: Math.min(start.x, now.x),
        right: Math.max(start.x, now.x),
        top: Math.min(start.y, now.y),
        bottom: Math.max(start.y, now.y),
      };
      setBox(drawn);
      const found = new Set(before);
      const from = Math.max(0, Math.floor((drawn.top - GAP) / row)) * columns;
      const to = Math.min(list.length, (Math.floor((drawn.bottom - GAP) / row) + 1) * columns);
      for (let position = from; position < to; position++) {
        const { left, top } = place(position);
        const inside = left < drawn.right && left + tile > drawn.left && top < drawn.bottom && top + row - GAP > drawn.top;
        if (inside) found.add(list[position]!);
      }
      selected.value = found;
    };
    const onRelease = (last: PointerEvent) => {
      removeEventListener("pointermove", onMove);
      removeEventListener("pointerup", onRelease);
      setBox(null);
      if (dragged) return;
      const option = (last.target as HTMLElement).closest<HTMLElement>("[data-position]");
      if (!option) return void (selected.value = new Set());
      const position = Number(option.dataset.position);
      select(position, last.shiftKey ? "range" : last.ctrlKey || last.metaKey ? "toggle" : "only");
    };
    addEventListener("pointermove", onMove);
    addEventListener("pointerup", onRelease);
  };

  return (
    <>
      <label class="size">
        Size{" "}
        <input
          type="range"
          min="128"
          max="384"
          step="16"
          value={size}
          onInput={(event) => setSize(Number(event.currentTarget.value))}
        />
      </label>
      <div
        ref={scroller}
        class="gallery"
        role="listbox"
        aria-label="Images"
        aria-multiselectable="true"
        aria-activedescendant={list.length ? `image-${cursor}` : undefined}
        tabIndex={0}
        onScroll={(event) => setScrolled(event.currentTarget.scrollTop)}
        onPointerDown={onPress}
      >
        <div class="canvas" role="presentation" style={{ height: `${rows * row + GAP}px` }}>
          {visible.map((index, offset) => {
            const position = firstRow * columns + offset;
            const { left, top } = place(position);
            const detail = details.value.get(index);
            const on = selected.value.has(index);
            return (
              <div
                key={index}
                id={`image-${position}`}
                data-position={position}
                data-index={index}
                class={`tile${on ? " selected" : ""}${position === cursor ? " cursor" : ""}`}
                role="option"
                aria-selected={on}
                aria-posinset={position + 1}
                aria-setsize={list.length}
                aria-label={detail ? describeImage(detail) : `image ${index}`}
                style={{ left: `${left}px`, top: `${top}px`, width: `${tile}px`, height: `${row - GAP}px` }}
                onDblClick={() => (viewed.value = index)}
                onClick={(event) => {
                  if ((event as unknown as PointerEvent).pointerType === "touch") viewed.value = index;
                }}
              >
                <img src={thumbnail(index)} alt="" draggable={false} style={{ height: `${tile}px` }} />
                <span class="caption">{detail && <Caption detail={detail} />}</span>
              </div>
            );
          })}
          {box && (
            <div
              class="rectangle"
              style={{
                left: `${box.left}px`,
                top: `${box.top}px`,
                width: `${box.right - box.left}px`,
                height: `${box.bottom - box.top}px`,
              }}
            />
          )}
        </div>
        {!list.length && <p class="empty">No images match.</p>}
      </div>
    </>
  );
}
