// Keyboard shortcuts of the gallery.

import type { RefObject } from "preact";
import { correctByKey, pressesControl, useKeys } from "../keys";
import { dialog, images, nameClass, openClass, selected, viewed } from "../state";

interface Actions {
  scroller: RefObject<HTMLDivElement | null>;
  cursor: number;
  columns: number;
  page: number; // number of images that fit into the window
  go: (position: number, extend: boolean) => void;
  toggle: (position: number) => void;
}

export function useGalleryKeys({ scroller, cursor, columns, page, go, toggle }: Actions): void {
  useKeys((event) => {
    if (viewed.value !== null || pressesControl(event)) return;
    const list = images.value;
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
      toggle(cursor);
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
}
