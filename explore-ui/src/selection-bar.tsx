import { IGNORED, OUTLIER } from "./api";
import { actions, chosen, dialog, route, selected } from "./state";

export function SelectionBar() {
  const indices = [...selected.value];
  if (!indices.length) return null;
  const [first] = indices;
  return (
    <section class="selection" aria-label="Selected images">
      <strong role="status">{indices.length} selected</strong>
      <button class="primary" onClick={() => (dialog.value = "move")} title="Move to a class (m)">
        Move…
      </button>
      <button onClick={() => void actions.mark(indices, OUTLIER)} title="Mark as outlier (o)">
        Outlier
      </button>
      <button onClick={() => void actions.mark(indices, IGNORED)} title="Ignore (i)">
        Ignore
      </button>
      <button onClick={() => void actions.mark(indices, null)} title="Remove corrections (r)">
        Restore
      </button>
      {indices.length === 1 && (
        <button onClick={() => (location.hash = `#/like/${first}`)} title="More images like this (l)">
          More like this
        </button>
      )}
      {route.value.view === "map" && (
        <button
          onClick={() => {
            chosen.value = indices;
            location.hash = "#/selected";
          }}
        >
          Show images
        </button>
      )}
      <button onClick={() => (selected.value = new Set())} title="Clear the selection (Escape)">
        Clear
      </button>
    </section>
  );
}
