// Grid of images. Only the rows near the visible part are in the document, so 100 000 images scroll smoothly.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { startSelecting, type Box, type Selecting } from "./gallery-drag";
import { useGalleryKeys } from "./gallery-keys";
import { comparing, describe, details, images, listing, query, route, selected } from "../state";
import { Tile } from "./tile";

const GAP = 8;
const CAPTION = 40;
const OVERSCAN = 2;

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
    const measure = () => {
      setWidth(element.clientWidth);
      setHeight(element.clientHeight);
    };
    measure(); // before the first paint
    const observer = new ResizeObserver(measure);
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
  useEffect(() => void describe(visible), [visible, details.value]);

  const place = (position: number) => ({
    left: GAP + (position % columns) * (tile + GAP),
    top: GAP + Math.floor(position / columns) * row,
  });

  const select = (position: number, how: Selecting) => {
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

  const inside = (drawn: Box): number[] => {
    const from = Math.max(0, Math.floor((drawn.top - GAP) / row)) * columns;
    const to = (Math.floor((drawn.bottom - GAP) / row) + 1) * columns;
    return list.slice(from, to).filter((_, offset) => {
      const { left, top } = place(from + offset);
      return left < drawn.right && left + tile > drawn.left && top < drawn.bottom && top + row - GAP > drawn.top;
    });
  };

  const page = Math.max(1, Math.floor(height / row)) * columns;
  useGalleryKeys({ scroller, cursor, columns, page, go, toggle: (position) => select(position, "toggle") });

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
        onPointerDown={(event) => startSelecting(event, { scroller, inside, draw: setBox, select })}
      >
        <div class="canvas" role="presentation" style={{ height: `${rows * row + GAP}px` }}>
          {visible.map((index, offset) => {
            const position = firstRow * columns + offset;
            const { left, top } = place(position);
            return (
              <Tile
                key={index}
                index={index}
                position={position}
                place={{ left, top, width: tile, height: row - GAP }}
                cursor={position === cursor}
                inView={top < scrolled + height && top + row > scrolled}
              />
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
        {comparing.value !== null && <p class="empty">Comparing the images: {Math.round(100 * comparing.value)} %</p>}
        {!list.length && !listing.value && <p class="empty">No images match.</p>}
      </div>
    </>
  );
}
