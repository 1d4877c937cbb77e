import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { api, thumbnail, type Bench } from "./api";
import { actions, countImages, dialog, openClass, selected, text, title } from "./state";
import { Train } from "./train";

export function Dialogs({ state }: { state: Bench }) {
  switch (dialog.value) {
    case "help":
      return <Help />;
    case "move":
      return <Move state={state} />;
    case "name":
      return <Name />;
    case "split":
      return <Split state={state} />;
    case "train":
      return <Train state={state} />;
    default:
      return null;
  }
}

export function Modal({ heading, children }: { heading: string; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    element.current?.showModal();
    element.current?.querySelector<HTMLElement>("input, select")?.focus();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog ref={element} class="modal" aria-labelledby="heading" onClose={() => (dialog.value = null)}>
      <div class="bar">
        <h2 id="heading">{heading}</h2>
        <button onClick={() => element.current?.close()}>Close</button>
      </div>
      {children}
    </dialog>
  );
}

function Move({ state }: { state: Bench }) {
  const [filter, setFilter] = useState("");
  const indices = [...selected.value];
  const known = state.classes.filter((card) => card.number >= 0);
  const found = known.filter((card) => `${card.number} ${title(card.number)}`.toLowerCase().includes(filter.toLowerCase()));
  const exact = known.find((card) => title(card.number).toLowerCase() === filter.trim().toLowerCase());
  const move = async (number: number | null, name = "") => {
    if (await actions.move(indices, number, name)) dialog.value = null;
  };
  return (
    <Modal heading={`Move ${countImages(indices.length)}`}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const only = exact ?? (found.length === 1 && filter ? found[0] : undefined);
          if (only) void move(only.number);
          else if (filter.trim()) void move(null, filter.trim());
        }}
      >
        <label>
          Class, or the name of a new class{" "}
          <input id="target" value={filter} autocomplete="off" maxLength={200} onInput={(event) => setFilter(event.currentTarget.value)} />
        </label>
        {!exact && (
          <button type="button" class="primary" onClick={() => void move(null, filter.trim())}>
            {filter.trim() ? `New class “${filter.trim()}”` : "New class"}
          </button>
        )}
      </form>
      <ul class="targets">
        {found.map((card) => (
          <li key={card.number}>
            <button onClick={() => void move(card.number)} data-class={card.number}>
              {card.covers[0] !== undefined && <img src={thumbnail(card.covers[0])} alt="" />}
              <span>
                {title(card.number)} <small>{card.size}</small>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </Modal>
  );
}

function Name() {
  const card = openClass.value;
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

const SHOWN = 12;

function Split({ state }: { state: Bench }) {
  const card = openClass.value;
  const [parts, setParts] = useState(2);
  const [preview, setPreview] = useState<{ parts: number[][]; version: number } | null>(null);
  const [problem, setProblem] = useState("");
  const number = card?.number;
  useEffect(() => {
    if (number === undefined) return;
    let wanted = true;
    setPreview(null);
    setProblem("");
    api
      .preview(number, parts)
      .then(({ result }) => wanted && setPreview(result))
      .catch((error: unknown) => wanted && setProblem(text(error)));
    return () => void (wanted = false);
  }, [number, parts, state.version]);
  if (!card) return null;
  return (
    <Modal heading={`Split ${title(card.number)}`}>
      <label>
        Number of parts{" "}
        <input id="parts" type="number" min="2" max="20" value={parts} onInput={(event) => setParts(Math.min(20, Math.max(2, Number(event.currentTarget.value) || 2)))} />
      </label>
      <p class="note">k-means on the features of the class. The first part keeps the class, and each other part becomes a new class.</p>
      {problem && <p role="alert">{problem}</p>}
      {!preview && !problem && <p role="status">computing…</p>}
      {preview?.parts.map((part, at) => (
        <div class="part">
          <strong>
            Part {at + 1}: {countImages(part.length)}
          </strong>
          <div>
            {part.slice(0, SHOWN).map((index) => (
              <img src={thumbnail(index)} alt="" />
            ))}
          </div>
        </div>
      ))}
      <button
        class="primary"
        disabled={!preview}
        onClick={async () => {
          if (preview && (await actions.split(card.number, parts, preview.version))) dialog.value = null;
        }}
      >
        Split
      </button>
    </Modal>
  );
}

const KEYS: [string, string][] = [
  ["← → ↑ ↓", "move between images or classes; with Shift, select a range"],
  ["Space", "select or unselect the image"],
  ["Ctrl + A, Escape", "select all images, clear the selection"],
  ["Enter", "show the original image; ← and → show its neighbours, Escape closes it"],
  ["0 … 9", "move the selected images to the class with this number; on the page of all classes, open it"],
  ["m", "move the selected images to any class or a new class"],
  ["o, i, r", "mark as outlier, ignore, remove corrections"],
  ["l", "more images like this"],
  ["n, s", "name the class, split the class"],
  ["Ctrl + Z, Ctrl + Shift + Z", "undo, redo"],
  ["t", "train again with the corrections"],
  ["/", "search by file name"],
  ["?", "this help"],
];

function Help() {
  return (
    <Modal heading="Help">
      <p>
        Click an image to select it, with Shift for a range, with Ctrl for more than one, or drag a rectangle. A double click shows
        the original. Every correction is saved at once, in <code>corrections.csv</code> and <code>classes.toml</code> of the run.
      </p>
      <table>
        <tbody>
          {KEYS.map(([keys, meaning]) => (
            <tr>
              <th scope="row">{keys}</th>
              <td>{meaning}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Modal>
  );
}
