// Dialogs that name a class and merge classes.

import { useState } from "preact/hooks";
import type { Bench } from "../api";
import { Modal } from "./dialogs";
import { actions, checkedClasses, dialog, named, title } from "../state";

export function Name() {
  const card = named.value;
  const [name, setName] = useState(card?.name ?? "");
  if (!card) return null;
  return (
    <Modal heading={`Name ${title(card.number)}`}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const number = card.number;
          if (await actions.name(number, name.trim())) dialog.value = null;
        }}
      >
        <label>
          Name <input id="name" value={name} maxLength={200} autocomplete="off" onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <button class="primary">Save</button>
      </form>
      <p class="note">Classes with the same name are one class. An empty name removes the name.</p>
    </Modal>
  );
}

// Classes are merged by a common name, so the dialog asks for one.
export function Merge({ state }: { state: Bench }) {
  const cards = state.classes.filter((card) => checkedClasses.value.has(card.number));
  const [name, setName] = useState(cards.find((card) => card.name)?.name ?? "");
  const others = state.classes.filter((card) => name.trim() && card.name === name.trim() && !cards.includes(card));
  return (
    <Modal heading={`Merge ${cards.length} classes`}>
      <p>{cards.map((card) => title(card.number)).join(", ")}</p>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          const numbers = cards.map((card) => card.number);
          if (await actions.merge(numbers, name.trim())) dialog.value = null;
        }}
      >
        <label>
          Name of the merged class{" "}
          <input id="name" value={name} maxLength={200} autocomplete="off" onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <button class="primary" disabled={!name.trim()}>
          Merge
        </button>
      </form>
      {others.length > 0 && <p class="note">Another class has this name already. It is merged as well.</p>}
    </Modal>
  );
}
