import { useEffect, useState } from "preact/hooks";
import type { Bench, Sort } from "../api";
import { Facts, Title } from "../classes";
import { actions, chosen, countImages, dialog, images, listing, nameClass, openClass, query, route, title } from "../state";

const SORTS: [Sort, boolean, string][] = [
  ["confidence", true, "most confident first"],
  ["confidence", false, "least confident first"],
  ["similarity", true, "most similar first"],
  ["similarity", false, "least similar first"],
  ["outlier", true, "outliers first"],
  ["file", false, "file name"],
  ["date", true, "newest file first"],
  ["date", false, "oldest file first"],
];

export function Toolbar({ state }: { state: Bench }) {
  const current = query.value;
  const view = route.value;
  const card = openClass.value;
  const update = (changes: Partial<typeof current>) => (query.value = { ...query.value, ...changes });
  const [text, setText] = useState(current.text);
  useEffect(() => setText(query.value.text), [view]);
  useEffect(() => {
    const timer = setTimeout(() => text !== query.value.text && update({ text }), 200);
    return () => clearTimeout(timer);
  }, [text]);
  if (view.view !== "images") return null;
  const heading = view.chosen
    ? "Selected images"
    : view.like !== null
      ? "Most similar images"
      : view.number === null
        ? "All images"
        : title(view.number);
  return (
    <section class="toolbar" aria-label="Filters">
      <div class="heading">
        <a href="#/" class="back" aria-label="Back to all classes">
          ←
        </a>
        <h2>{card ? <Title card={card} /> : heading}</h2>
        {card && (
          <span class="facts">
            <Facts card={card} />
          </span>
        )}
        {card && card.number >= 0 && (
          <span class="buttons">
            <button onClick={() => nameClass(card)} title="Name the class (n)">
              Name
            </button>
            <button onClick={() => (dialog.value = "split")} disabled={card.size < 2} title="Split the class (s)">
              Split
            </button>
            {card.merged.length > 0 && (
              <button onClick={() => void actions.name(card.number, "")} title="Remove the common name">
                Separate merged classes
              </button>
            )}
          </span>
        )}
      </div>
      {!view.chosen && (
        <div class="filters">
          <label>
            Search{" "}
            <input
              id="search"
              type="search"
              placeholder={state.files ? "file name" : "split or number"}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </label>
          {view.like === null && (
            <label>
              Order{" "}
              <select
                id="sort"
                value={`${current.sort} ${current.descending}`}
                onChange={(event) => {
                  const [sort, descending] = event.currentTarget.value.split(" ");
                  update({ sort: sort as Sort, descending: descending === "true" });
                }}
              >
                {SORTS.map(([sort, descending, label]) => (
                  <option value={`${sort} ${descending}`}>{label}</option>
                ))}
              </select>
            </label>
          )}
          {state.splits.length > 1 && (
            <label>
              Split{" "}
              <select id="split" value={current.split} onChange={(event) => update({ split: event.currentTarget.value })}>
                <option value="">all</option>
                {state.splits.map((name) => (
                  <option value={name}>{name}</option>
                ))}
              </select>
            </label>
          )}
          {state.labels.length > 0 && (
            <label>
              Label{" "}
              <select
                id="label"
                value={current.label ?? ""}
                onChange={(event) => update({ label: event.currentTarget.value === "" ? null : Number(event.currentTarget.value) })}
              >
                <option value="">all</option>
                {state.labels.map((name, index) => (
                  <option value={index}>{name}</option>
                ))}
              </select>
            </label>
          )}
          <label>
            Corrected{" "}
            <select
              id="corrected"
              value={current.corrected === null ? "" : String(current.corrected)}
              onChange={(event) =>
                update({ corrected: event.currentTarget.value === "" ? null : event.currentTarget.value === "true" })
              }
            >
              <option value="">all</option>
              <option value="true">yes</option>
              <option value="false">no</option>
            </select>
          </label>
          <label>
            Confidence from{" "}
            <input
              id="low"
              type="number"
              min="0"
              max="1"
              step="0.05"
              value={current.low}
              onChange={(event) => update({ low: Number(event.currentTarget.value) || 0 })}
            />
          </label>
          <label>
            to{" "}
            <input
              id="high"
              type="number"
              min="0"
              max="1"
              step="0.05"
              value={current.high}
              onChange={(event) => update({ high: event.currentTarget.value === "" ? 1 : Number(event.currentTarget.value) })}
            />
          </label>
        </div>
      )}
      <p class="found" role="status">
        {listing.value ? "searching…" : countImages(view.chosen ? chosen.value.length : images.value.length)}
      </p>
    </section>
  );
}
