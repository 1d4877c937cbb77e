// Training with the corrections: its progress, and the run that it makes.

import { signal } from "@preact/signals";
import { api, type Training } from "./api";
import { bench, change, chosen, dialog, failure, message, text } from "./state";

const INTERVAL = 300; // milliseconds between two requests for the progress

export const training = signal<Training | null>(null);

let polling = false;
let first: { stage: string; done: number; time: number } | null = null;

// Seconds until the current stage ends, from the speed since it was first seen; null if that is unknown.
export const secondsLeft = signal<number | null>(null);

function measure({ stage, done, total }: Training): void {
  const time = performance.now() / 1000;
  if (first?.stage !== stage) first = { stage, done, time };
  const steps = done - first.done;
  secondsLeft.value = steps > 0 && time - first.time > 2 ? ((time - first.time) / steps) * (total - done) : null;
}

export function duration(seconds: number): string {
  return seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

export async function followTraining(): Promise<void> {
  if (polling) return;
  polling = true;
  try {
    for (;;) {
      training.value = await api.training();
      measure(training.value);
      if (training.value.state !== "running") break;
      await new Promise((resolve) => setTimeout(resolve, INTERVAL));
    }
  } catch (error) {
    failure.value = `The server does not answer: ${text(error)}`;
  } finally {
    polling = false;
  }
}

export async function train(): Promise<void> {
  try {
    await api.train();
  } catch (error) {
    failure.value = text(error);
    return;
  }
  await followTraining();
  const state = training.value?.state;
  if (dialog.value !== "train" && (state === "finished" || state === "failed")) message.value = `training ${state}`;
}

// Shows the new run instead of the corrected one: all classes, or the images whose class changed.
export async function openTrained(images: number[] | null): Promise<void> {
  if (!(await change(api.open(), "this is the new run"))) return;
  dialog.value = null;
  if (images) chosen.value = images;
  location.hash = images ? "#/selected" : "#/";
}

// The result of the latest training, unless the page already shows its run.
export const trained = () => {
  const result = training.value?.result;
  return result && result.run !== bench.value?.run ? result : null;
};
