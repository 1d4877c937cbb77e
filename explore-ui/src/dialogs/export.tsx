// The command that writes the classes to a CSV file: in the dialog "Export", and after a training.

import { useState } from "preact/hooks";
import type { Bench } from "../api";
import { Modal } from "./dialogs";

export function Command({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <p class="command">
      <code tabIndex={0}>{text}</code>
      <button
        type="button"
        onClick={async () => {
          await navigator.clipboard.writeText(text);
          setCopied(true);
        }}
      >
        {copied ? "Copied" : "Copy"}
      </button>
    </p>
  );
}

// Names are needed in the table only, so this is not shown before.
export function Unnamed({ state }: { state: Bench }) {
  const count = state.classes.filter((card) => card.number >= 0 && card.size > 0 && !card.name).length;
  if (!count) return null;
  return (
    <p class="note unnamed">
      {count === 1 ? "1 class has no name: the file has its number only." : `${count} classes have no name: the file has their numbers only.`}
    </p>
  );
}

export function Export({ state }: { state: Bench }) {
  return (
    <Modal heading="Export">
      <p>This command writes a CSV file with the class of each image file in a folder, and uses your names and corrections:</p>
      <Unnamed state={state} />
      <Command text={state.predict} />
      <p class="note">
        Replace IMAGES by the folder. Enter the command in a terminal; this page can stay open. Your corrections apply to the files that you
        corrected. Train again to use them for other images as well.
      </p>
    </Modal>
  );
}
