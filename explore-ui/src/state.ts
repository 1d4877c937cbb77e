// State of the page, and the actions that change it.

import { batch, computed, effect, signal } from "@preact/signals";
import { api, IGNORED, OUTLIER, type Bench, type ClassCard, type Detail, type Query, type Status } from "./api";

export type Route =
  | { view: "classes" }
  | { view: "map" }
  | { view: "images"; number: number | null; like: number | null; chosen: boolean };

export type Dialog = "help" | "move" | "name" | "merge" | "split" | "train" | "export" | null;

const DEFAULTS: Query = {
  number: null,
  sort: "confidence",
  descending: true,
  split: "",
  label: null,
  corrected: null,
  text: "",
  low: 0,
  high: 1,
  like: null,
};

export const status = signal<Status | null>(null);
export const bench = signal<Bench | null>(null);
export const route = signal<Route>({ view: "classes" });
export const query = signal<Query>(DEFAULTS);
export const images = signal<number[]>([]);
export const listing = signal(false);
export const comparing = signal<number | null>(null); // share of the images that are compared for the outlier scores
export const details = signal<ReadonlyMap<number, Detail>>(new Map());
export const selected = signal<ReadonlySet<number>>(new Set());
export const checkedClasses = signal<ReadonlySet<number>>(new Set());
export const chosen = signal<number[]>([]);
export const viewed = signal<number | null>(null);
export const dialog = signal<Dialog>(null);
export const named = signal<ClassCard | null>(null); // the class of the dialog "name"
export const message = signal("");
export const failure = signal("");

export const openClass = computed<ClassCard | null>(() => {
  const current = route.value;
  if (current.view !== "images" || current.number === null) return null;
  return bench.value?.classes.find((card) => card.number === current.number) ?? null;
});

export function nameClass(card: ClassCard): void {
  named.value = card;
  dialog.value = "name";
}

export function title(number: number): string {
  if (number === OUTLIER) return "Outliers";
  if (number === IGNORED) return "Ignored";
  const card = bench.value?.classes.find((one) => one.number === number);
  if (card?.name) return card.name;
  return card?.added ? `New class ${number}` : `Class ${number}`;
}

function parseHash(): Route {
  const [view = "", value = ""] = location.hash.replace(/^#\/?/, "").split("/");
  const number = /^-?\d+$/.test(value) ? Number(value) : null;
  if (view === "class" && number !== null) return { view: "images", number, like: null, chosen: false };
  if (view === "like" && number !== null) return { view: "images", number: null, like: number, chosen: false };
  if (view === "all") return { view: "images", number: null, like: null, chosen: false };
  if (view === "selected") return { view: "images", number: null, like: null, chosen: true };
  return { view: view === "map" ? "map" : "classes" };
}

function follow(): void {
  batch(() => {
    const next = parseHash();
    if (next.view !== "classes") stopCovers();
    route.value = next;
    viewed.value = null;
    dialog.value = null;
    if (next.view === "images") {
      selected.value = new Set();
      images.value = []; // not those of the view before, whose thumbnails would be loaded first
      const sort = next.like === null ? "confidence" : "similarity";
      query.value = { ...DEFAULTS, number: next.number, like: next.like, sort };
    } else if (next.view === "classes") {
      selected.value = new Set();
    }
  });
}

// The browser goes on loading covers that are no longer in the document, before the thumbnails of a class.
function stopCovers(): void {
  for (const cover of document.querySelectorAll<HTMLImageElement>(".cards img")) {
    if (!cover.complete) cover.removeAttribute("src");
  }
}

export async function start(): Promise<void> {
  addEventListener("hashchange", follow);
  for (;;) {
    try {
      status.value = await api.status();
    } catch (error) {
      failure.value = `The server does not answer: ${text(error)}`;
      return;
    }
    if (status.value.state !== "loading") break;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  if (status.value.state === "ready") {
    bench.value = await api.classes();
    follow();
    effect(() => {
      void query.value;
      void bench.value;
      if (route.value.view === "images") void list();
    });
  }
}

let requested = 0;

async function list(): Promise<void> {
  const current = route.value;
  if (current.view !== "images") return;
  const ticket = ++requested;
  listing.value = !current.chosen;
  comparing.value = null;
  if (current.chosen) {
    images.value = chosen.value;
    return;
  }
  try {
    for (;;) {
      const version = bench.value?.version;
      const found = await api.images(query.value);
      if (ticket !== requested) return;
      if (found.images) {
        batch(() => {
          if (version === bench.value?.version) remember(found.details);
          images.value = found.images;
        });
        return;
      }
      batch(() => {
        images.value = [];
        comparing.value = found.progress;
      });
    }
  } catch (error) {
    if (ticket === requested) failure.value = text(error);
  } finally {
    if (ticket === requested) {
      listing.value = false;
      comparing.value = null;
    }
  }
}

function remember(found: Detail[]): void {
  details.value = new Map([...details.value, ...found.map((one): [number, Detail] => [one.index, one])]);
}

const waiting = new Set<number>();

export async function describe(wanted: number[]): Promise<void> {
  const missing = wanted.filter((index) => !details.value.has(index) && !waiting.has(index)).slice(0, 400);
  if (!missing.length) return;
  missing.forEach((index) => waiting.add(index));
  const version = bench.value?.version;
  try {
    const found = await api.details(missing);
    if (version === bench.value?.version) remember(found);
  } catch (error) {
    failure.value = text(error);
  } finally {
    missing.forEach((index) => waiting.delete(index));
  }
}

export async function change(action: Promise<{ result: unknown; state: Bench }>, done: string): Promise<boolean> {
  try {
    const { state } = await action;
    batch(() => {
      details.value = new Map();
      waiting.clear();
      bench.value = state;
      selected.value = new Set();
      message.value = done;
      failure.value = "";
    });
    return true;
  } catch (error) {
    failure.value = text(error);
    return false;
  }
}

export const countImages = (number: number) => (number === 1 ? "1 image" : `${number} images`);

const marked = (count: number, number: number | null) => {
  if (number === OUTLIER) return count === 1 ? "marked as outlier" : "marked as outliers";
  return number === IGNORED ? "ignored" : "without corrections";
};

export const actions = {
  move: (indices: number[], number: number | null, name = "") =>
    change(api.move(indices, number, name), `${countImages(indices.length)} moved to ${number === null ? name || "a new class" : title(number)}`),
  mark: (indices: number[], number: number | null) =>
    change(api.mark(indices, number), `${countImages(indices.length)} ${marked(indices.length, number)}`),
  name: (number: number, name: string) => change(api.name(number, name), name ? `named ${name}` : "name removed"),
  merge: async (numbers: number[], name: string) => {
    const done = await change(api.merge(numbers, name), `${numbers.length} classes merged as ${name}`);
    if (done) checkedClasses.value = new Set();
    return done;
  },
  split: (number: number, parts: number, version: number) =>
    change(api.split(number, parts, version), `split into ${parts} classes`),
  undo: () => change(api.undo(), "undone"),
  redo: () => change(api.redo(), "redone"),
};

export function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
