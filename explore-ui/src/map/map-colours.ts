// Colours of the points on the map, and the test whether a point is inside a lasso.

import type { Bench, MapData } from "../api";

export type Colouring = "class" | "label" | "confidence" | "split";
export type Point = [number, number];

const MAX_ENTRIES = 24;
const GREY: [number, number, number] = [140, 140, 140];

// Colours with the golden angle between their hues: neighbouring numbers differ most.
function hue(number: number): [number, number, number] {
  const angle = (number * 137.508 + 210) % 360;
  const lightness = 0.46 + 0.1 * ((number >> 2) % 2);
  const chroma = (1 - Math.abs(2 * lightness - 1)) * 0.72;
  const channel = (shift: number) => {
    const k = (shift + angle / 30) % 12;
    return Math.round(255 * (lightness - (chroma / 2) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

// From dark blue to yellow; a lower confidence is darker.
function ramp(value: number): [number, number, number] {
  const v = Math.min(1, Math.max(0, value));
  return [Math.round(40 + 215 * v), Math.round(50 + 150 * v), Math.round(150 - 110 * v)];
}

const css = ([r, g, b]: [number, number, number]) => `rgb(${r}, ${g}, ${b})`;

// Returns the colours as 0xAABBGGRR, and the entries of the legend.
export function colours(
  data: MapData,
  state: Bench,
  colouring: Colouring,
  title: (number: number) => string,
): { packed: Uint32Array; entries: [string, string][] } {
  const source = { class: data.classes, label: data.labels, split: data.splits, confidence: data.confidence }[colouring];
  const colour = (value: number) => (colouring === "confidence" ? ramp(value) : value < 0 ? GREY : hue(value));
  const known = new Map<number, number>();
  const packed = Uint32Array.from(source, (value) => {
    const rounded = colouring === "confidence" ? Math.round(256 * value) / 256 : value;
    let found = known.get(rounded);
    if (found === undefined) {
      const [r, g, b] = colour(rounded);
      known.set(rounded, (found = (0xff000000 | (b << 16) | (g << 8) | r) >>> 0));
    }
    return found;
  });
  const names: [string, number][] =
    colouring === "class"
      ? state.classes.map((card) => [title(card.number), card.number])
      : colouring === "label"
        ? state.labels.map((name, index) => [name, index])
        : colouring === "split"
          ? state.splits.map((name, index) => [name, index])
          : [0, 0.25, 0.5, 0.75, 1].map((value) => [value.toFixed(2), value]);
  const entries = names.slice(0, MAX_ENTRIES).map(([name, value]): [string, string] => [name, css(colour(value))]);
  if (names.length > MAX_ENTRIES) entries.push([`and ${names.length - MAX_ENTRIES} more`, "transparent"]);
  return { packed, entries };
}

// Even-odd rule.
export function inside([x, y]: Point, polygon: Point[]): boolean {
  let result = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i]!;
    const [xj, yj] = polygon[j]!;
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) result = !result;
  }
  return result;
}
