// Training with the corrections: its progress, and the run that it makes.

import { signal } from "@preact/signals";
import { api, type Training } from "./api";
import { bench, change, chosen, dialog, failure, message, text } from "./state";

const INTERVAL = 300; // milliseconds between two requests for the progress

export const training = signal<Training | null>(null);

let polling = false;

export async function followTraining(): Promise<void> {
  if (polling) return;
  polling = true;
  try {
    for (;;) {
      training.value = await api.training();
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
