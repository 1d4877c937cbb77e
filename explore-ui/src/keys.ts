// Keyboard shortcuts: they work wherever the focus is, except in fields for text and choices, and in dialogs.

import { useLayoutEffect, useRef } from "preact/hooks";
import { IGNORED, OUTLIER } from "./api";
import { actions, bench, dialog, message, selected } from "./state";

const FIELDS = "input:not([type=checkbox]), select, textarea";

export function useKeys(handle: (event: KeyboardEvent) => void): void {
  const latest = useRef(handle);
  latest.current = handle;
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (dialog.value || (event.target instanceof Element && event.target.matches(FIELDS))) return;
      latest.current(event);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

export const isDigit = (event: KeyboardEvent) => /^[0-9]$/.test(event.key);

// Whether the browser uses the key for the link or button with the focus.
export const pressesControl = (event: KeyboardEvent) =>
  (event.key === "Enter" || event.key === " ") && event.target instanceof Element && event.target.matches("a, button");

const MARKS: Record<string, number | null> = { o: OUTLIER, i: IGNORED, r: null };

// Corrects the images if the key is a shortcut of a correction.
export function correctByKey(event: KeyboardEvent, indices: number[]): void {
  const mark = MARKS[event.key];
  if (!isDigit(event) && mark === undefined && event.key !== "m") return;
  event.preventDefault();
  if (!indices.length) {
    message.value = "no image is selected";
  } else if (mark !== undefined) {
    void actions.mark(indices, mark);
  } else if (event.key === "m") {
    selected.value = new Set(indices);
    dialog.value = "move";
  } else if (bench.value?.classes.some((card) => card.number === Number(event.key))) {
    void actions.move(indices, Number(event.key));
  } else {
    message.value = `there is no class ${event.key}`;
  }
}
