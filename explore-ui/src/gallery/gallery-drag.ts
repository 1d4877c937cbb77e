// A press with the mouse selects an image; dragging selects all images that touch the rectangle.

import type { RefObject } from "preact";
import { selected } from "../state";

const DRAG = 6; // pixels after which a press becomes a selection rectangle

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export type Selecting = "only" | "toggle" | "range";

interface Actions {
  scroller: RefObject<HTMLDivElement | null>;
  inside: (box: Box) => number[]; // the images that touch a rectangle
  draw: (box: Box | null) => void;
  select: (position: number, how: Selecting) => void;
}

export function startSelecting(event: PointerEvent, { scroller, inside, draw, select }: Actions): void {
  if (event.button !== 0 || event.pointerType !== "mouse") return;
  const element = scroller.current!;
  const area = element.getBoundingClientRect();
  if (event.clientX > area.left + element.clientWidth) return; // the scroll bar
  const point = (one: PointerEvent) => ({
    x: one.clientX - area.left,
    y: one.clientY - area.top + element.scrollTop,
  });
  const start = point(event);
  const before = event.shiftKey || event.ctrlKey || event.metaKey ? selected.value : new Set<number>();
  let dragged = false;
  const onMove = (next: PointerEvent) => {
    const now = point(next);
    if (!dragged && Math.hypot(now.x - start.x, now.y - start.y) < DRAG) return;
    dragged = true;
    const box = {
      left: Math.min(start.x, now.x),
      right: Math.max(start.x, now.x),
      top: Math.min(start.y, now.y),
      bottom: Math.max(start.y, now.y),
    };
    draw(box);
    selected.value = new Set([...before, ...inside(box)]);
  };
  const onRelease = (last: PointerEvent) => {
    removeEventListener("pointermove", onMove);
    removeEventListener("pointerup", onRelease);
    draw(null);
    if (dragged) return;
    const option = (last.target as HTMLElement).closest<HTMLElement>("[data-position]");
    if (!option) return void (selected.value = new Set());
    const position = Number(option.dataset.position);
    select(position, last.shiftKey ? "range" : last.ctrlKey || last.metaKey ? "toggle" : "only");
  };
  addEventListener("pointermove", onMove);
  addEventListener("pointerup", onRelease);
}
