// What the page says about an image: its caption in the gallery, and its description for screen readers.

import type { Detail } from "./api";
import { openClass, title } from "./state";

export function Caption({ detail }: { detail: Detail }) {
  const name = detail.file.split("/").at(-1);
  const inClass = openClass.value?.number === detail.class;
  return (
    <>
      <span class="file" title={detail.file}>
        {name}
      </span>
      <span class="numbers">
        {detail.corrected && <b title="corrected">✓ </b>}
        {detail.confidence.toFixed(2)}
        {!inClass && ` · ${title(detail.class)}`}
        {detail.label !== null && ` · ${detail.label}`}
      </span>
    </>
  );
}

export function describeImage(detail: Detail): string {
  const parts = [detail.file, title(detail.class), `confidence ${detail.confidence.toFixed(2)}`];
  if (detail.label !== null) parts.push(`label ${detail.label}`);
  if (detail.corrected) parts.push("corrected");
  return parts.join(", ");
}
