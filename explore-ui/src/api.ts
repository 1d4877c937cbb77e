// Typed client of the server in sslkit/explore/server/app.py. All addresses are relative, so they contain the secret token.

export const OUTLIER = -1;
export const IGNORED = -2;

export interface ClassCard {
  number: number;
  name: string;
  size: number;
  added: boolean;
  merged: number[];
  corrected: number;
  confidence: number | null;
  stability: number | null;
  majority: string | null;
  purity: number | null;
  covers: number[];
}

export interface Bench {
  run: string;
  version: number;
  images: number;
  corrected: number;
  missing: number;
  undo: number;
  redo: number;
  untrained: boolean; // whether there are corrections that the classifier was not trained with
  classes: ClassCard[];
  splits: string[];
  labels: string[];
  files: boolean;
  notes: string[];
  predict: string;
}

export interface Detail {
  index: number;
  file: string;
  class: number;
  discovered: number;
  confidence: number;
  corrected: boolean;
  split: string;
  label: string | null;
  outlier: number | null;
}

// Images in the order of a query, with the details of the first ones. There are no images while the server compares all
// images for the outlier scores; progress is in [0, 1].
export type Listing = { images: number[]; details: Detail[] } | { images: null; progress: number };

export interface Status {
  state: "loading" | "ready" | "failed";
  stage: string;
  done: number;
  total: number;
  error: string | null;
  run: string;
}

export interface MapData {
  points: number[] | null;
  classes: number[];
  confidence: number[];
  labels: number[];
  splits: number[];
}

export interface Trained {
  run: string;
  predict: string;
  classes: number;
  moved: number;
  left_out: number;
  unused: number;
  followed: number;
  changed: number;
  images: number[];
  before: number | null;
  after: number | null;
}

export interface Training {
  state: "idle" | "running" | "finished" | "failed";
  stage: string;
  done: number;
  total: number;
  error: string | null;
  result: Trained | null;
}

export type Sort = "confidence" | "similarity" | "outlier" | "file" | "date";

export interface Query {
  number: number | null;
  sort: Sort;
  descending: boolean;
  split: string;
  label: number | null;
  corrected: boolean | null;
  text: string;
  low: number;
  high: number;
  like: number | null;
}

async function answer<T>(response: Response): Promise<T> {
  if (response.ok) return (await response.json()) as T;
  const text = await response.text();
  let message = text;
  try {
    message = (JSON.parse(text) as { error: string }).error;
  } catch {
    // not JSON: show the text
  }
  throw new Error(message);
}

async function get<T>(path: string): Promise<T> {
  return answer<T>(await fetch(path));
}

let run = ""; // the run that the page shows

async function post<T>(path: string, body: object): Promise<{ result: T; state: Bench }> {
  const headers = { "content-type": "application/json" };
  const request = { method: "POST", headers, body: JSON.stringify({ run, ...body }) };
  const found = await answer<{ result: T; state: Bench }>(await fetch(`api/${path}`, request));
  run = found.state.run;
  return found;
}

export const thumbnail = (index: number) => `thumbnail/${index}`;
export const original = (index: number) => `image/${index}`;

export const api = {
  status: () => get<Status>("api/status"),
  classes: async () => {
    const state = await get<Bench>("api/classes");
    run = state.run;
    return state;
  },
  training: () => get<Training>("api/training"),
  estimate: () => get<number | null>("api/estimate"),
  details: (images: number[]) => get<Detail[]>(`api/details?images=${images.join(",")}`),
  map: (method: string) => get<MapData>(`api/map/${method}`),
  images: (query: Query) => {
    const parameters = new URLSearchParams();
    for (const [key, value] of Object.entries(query)) {
      if (value !== null && value !== "") parameters.set(key, String(value));
    }
    return get<Listing>(`api/images?${parameters}`);
  },
  move: (images: number[], number: number | null, name = "") => post<{ number: number }>("move", { images, number, name }),
  mark: (images: number[], number: number | null) => post<null>("mark", { images, number }),
  name: (number: number, name: string) => post<null>("name", { number, name }),
  merge: (numbers: number[], name: string) => post<{ number: number }>("merge", { numbers, name }),
  preview: (number: number, parts: number) =>
    post<{ parts: number[][]; version: number }>("preview", { number, parts }),
  split: (number: number, parts: number, version: number) => post<null>("split", { number, parts, version }),
  undo: () => post<null>("undo", {}),
  redo: () => post<null>("redo", {}),
  train: () => post<null>("train", {}),
  open: () => post<null>("open", {}),
};
