import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { api, thumbnail, type Bench } from "../api";
import { Title } from "../classes";
import { Export } from "./export";
import { Help } from "./help";
import { Merge, Name } from "./names";
import { actions, countImages, dialog, openClass, selected, text, title } from "../state";
import { Train } from "./train";

export function Dialogs({ state }: { state: Bench }) {
  switch (dialog.value) {
    case "help":
      return <Help />;
    case "move":
      return <Move state={state} />;
    case "name":
      return <Name />;
    case "merge":
      return <Merge state={state} />;
    case "split":
      return <Split state={state} />;
    case "train":
      return <Train state={state} />;
    case "export":
      return <Export state={state} />;
    default:
      return null;
  }
}

export function Modal({ heading, children }: { heading: string; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
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
  const name = filter.trim();
  const exact = known.find((card) => title(card.number).toLowerCase() === name.toLowerCase());
  const target = exact ?? (found.length === 1 && name ? found[0] : undefined);
  const move = async (number: number | null, name = "") => {
    if (await actions.move(indices, number, name)) dialog.value = null;
  };
  return (
    <Modal heading={`Move ${countImages(indices.length)}`}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (target) void move(target.number);
          else if (name) void move(null, name);
        }}
      >
        <label>
          Class, or the name of a new class{" "}
          <input id="target" value={filter} autocomplete="off" maxLength={200} onInput={(event) => setFilter(event.currentTarget.value)} />
        </label>
        {name && (
          <button class="primary" title="Enter">
            {target ? `Move to ${title(target.number)}` : `New class “${name}”`}
          </button>
        )}
        {!exact && (!name || target) && (
          <button type="button" onClick={() => void move(null, name)}>
            {name ? `New class “${name}”` : "New class"}
          </button>
        )}
      </form>
      <ul class="targets">
        {found.map((card) => (
          <li key={card.number}>
            <button onClick={() => void move(card.number)} data-class={card.number}>
              {card.covers[0] !== undefined && <img src={thumbnail(card.covers[0])} alt="" />}
              <span>
                <Title card={card} /> <small>({countImages(card.size)})</small>
              </span>
            </button>
          </li>
        ))}
      </ul>
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
      <div class="buttons end">
        <button
          class="primary"
          disabled={!preview}
          onClick={async () => {
            if (preview && (await actions.split(card.number, parts, preview.version))) dialog.value = null;
          }}
        >
          Split
        </button>
      </div>
    </Modal>
  );
}
