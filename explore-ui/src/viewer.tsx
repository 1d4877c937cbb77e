import { useEffect, useRef, useState } from "preact/hooks";
import { original } from "./api";
import { describeImage } from "./caption";
import { describe, details, images, selected, title, viewed } from "./state";

// Shows the original file. A click switches between the whole image and its original size.
export function Viewer({ index }: { index: number }) {
  const element = useRef<HTMLDialogElement>(null);
  const [zoomed, setZoomed] = useState(false);
  const detail = details.value.get(index);
  const position = images.value.indexOf(index);
  const step = (by: number) => {
    const next = images.value[position + by];
    if (next !== undefined) {
      viewed.value = next;
      setZoomed(false);
    }
  };
  useEffect(() => element.current?.showModal(), []);
  useEffect(() => void describe([index]), [index]);
  const toggle = () => {
    const next = new Set(selected.value);
    if (!next.delete(index)) next.add(index);
    selected.value = next;
  };
  return (
    <dialog
      ref={element}
      class="viewer"
      aria-label="Image"
      onClose={() => (viewed.value = null)}
      onKeyDown={(event) => {
        if (event.key === "ArrowRight") step(1);
        if (event.key === "ArrowLeft") step(-1);
        if (event.key === " " && event.target === element.current) toggle();
        if (event.key === "z") setZoomed(!zoomed);
      }}
    >
      <div class="bar">
        <span class="what">
          {detail ? detail.file : `image ${index}`}
          {detail && (
            <small>
              {title(detail.class)}
              {detail.discovered !== detail.class && ` (discovered: ${title(detail.discovered)})`}, confidence{" "}
              {detail.confidence.toFixed(2)}, {detail.split}
              {detail.label !== null && `, label ${detail.label}`}
              {detail.outlier !== null && `, outlier score ${detail.outlier.toFixed(1)}`}
            </small>
          )}
        </span>
        <span class="buttons">
          <button onClick={() => step(-1)} disabled={position < 1} aria-label="Previous image">
            ←
          </button>
          <button onClick={() => step(1)} disabled={position < 0 || position >= images.value.length - 1} aria-label="Next image">
            →
          </button>
          <button onClick={() => setZoomed(!zoomed)} aria-pressed={zoomed}>
            Original size
          </button>
          <button onClick={toggle} aria-pressed={selected.value.has(index)}>
            Select
          </button>
          <a class="button" href={`#/like/${index}`}>
            More like this
          </a>
          <button onClick={() => element.current?.close()}>Close</button>
        </span>
      </div>
      <div class={`picture${zoomed ? " zoomed" : ""}`}>
        <img src={original(index)} alt={detail ? describeImage(detail) : `image ${index}`} onClick={() => setZoomed(!zoomed)} />
      </div>
    </dialog>
  );
}
