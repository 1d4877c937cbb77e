import { IGNORED, OUTLIER } from "../api";
import { actions, chosen, dialog, route, selected } from "../state";

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
      <button onClick={() => void actions.mark(indices, OUTLIER)} title="Take the images out of their class: they belong to no class (o)">
        Outlier
      </button>
      <button onClick={() => void actions.mark(indices, IGNORED)} title="Take the images out of their class for another reason, such as duplicates (i)">
        Ignore
      </button>
      <button onClick={() => void actions.mark(indices, null)} title="Give the images the class back that the network found (r)">
        Remove corrections
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
