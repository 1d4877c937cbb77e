// An image of the gallery, with its caption.

import { useLayoutEffect, useRef } from "preact/hooks";
import { thumbnail } from "../api";
import { Caption, describeImage } from "../caption";
import { details, images, selected, viewed } from "../state";

interface Place {
  left: number;
  top: number;
  width: number;
  height: number;
}

interface Props {
  index: number;
  position: number; // in the list
  place: Place; // in pixels
  cursor: boolean;
  inView: boolean;
}

export function Tile({ index, position, place, cursor, inView }: Props) {
  const picture = useRef<HTMLImageElement>(null);
  const detail = details.value.get(index);
  const on = selected.value.has(index);
  useLayoutEffect(() => {
    const element = picture.current!;
    return () => element.removeAttribute("src"); // the browser goes on loading images that are not in the document
  }, []);
  return (
    <div
      id={`image-${position}`}
      data-position={position}
      data-index={index}
      class={`tile${on ? " selected" : ""}${cursor ? " cursor" : ""}`}
      role="option"
      aria-selected={on}
      aria-posinset={position + 1}
      aria-setsize={images.value.length}
      aria-label={detail ? describeImage(detail) : `image ${index}`}
      style={{ left: `${place.left}px`, top: `${place.top}px`, width: `${place.width}px`, height: `${place.height}px` }}
      onDblClick={() => (viewed.value = index)}
      onClick={(event) => {
        if ((event as unknown as PointerEvent).pointerType === "touch") viewed.value = index;
      }}
    >
      <img
        ref={picture}
        fetchPriority={inView ? "high" : "low"} // before src, which starts the request
        src={thumbnail(index)}
        alt=""
        draggable={false}
        style={{ height: `${place.width}px` }}
      />
      <span class="caption">{detail && <Caption detail={detail} />}</span>
    </div>
  );
}
