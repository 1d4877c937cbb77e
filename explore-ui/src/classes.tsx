import { OUTLIER, thumbnail, type Bench, type ClassCard } from "./api";
import { actions, checkedClasses, countImages, title } from "./state";

const percent = (value: number) => `${Math.round(100 * value)} %`;

export function facts(card: ClassCard): string[] {
  const found = [countImages(card.size)];
  if (card.number < 0) return found;
  if (card.confidence !== null) found.push(`confidence ${percent(card.confidence)}`);
  if (card.stability !== null) found.push(`stability ${percent(card.stability)}`);
  if (card.majority !== null) found.push(`${card.majority} ${percent(card.purity ?? 0)}`);
  if (card.corrected) found.push(`${card.corrected} corrected`);
  return found;
}

export function Classes({ state }: { state: Bench }) {
  const checked = [...checkedClasses.value].filter((number) => state.classes.some((card) => card.number === number));
  const toggle = (number: number) => {
    const next = new Set(checkedClasses.value);
    if (!next.delete(number)) next.add(number);
    checkedClasses.value = next;
  };
  const onKey = (event: KeyboardEvent) => {
    const links = [...document.querySelectorAll<HTMLAnchorElement>(".cards a.cover")];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    const columns = links.filter((link) => link.offsetTop === links[0]?.offsetTop).length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (at >= 0 && step !== undefined) {
      event.preventDefault();
      links[Math.min(links.length - 1, Math.max(0, at + step))]?.focus();
    } else if (/^[0-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey) {
      if (state.classes.some((card) => card.number === Number(event.key))) location.hash = `#/class/${event.key}`;
    }
  };
  return (
    <section class="scroll" aria-label="Classes">
      <div class="bar">
        <h2>{state.classes.filter((card) => card.number > OUTLIER).length} classes</h2>
        {checked.length > 0 && (
          <>
            <button class="primary" disabled={checked.length < 2} onClick={() => void actions.merge(checked)}>
              Merge {checked.length} classes
            </button>
            <button onClick={() => (checkedClasses.value = new Set())}>Clear</button>
          </>
        )}
        {state.missing > 0 && <p class="note">{state.missing} corrected images are no longer in the folder.</p>}
        {state.notes.map((note) => (
          <p class="note">{note}</p>
        ))}
      </div>
      <ul class="cards" onKeyDown={onKey}>
        {state.classes.map((card) => (
          <li key={card.number} data-class={card.number} class={checkedClasses.value.has(card.number) ? "checked" : ""}>
            <a class="cover" href={`#/class/${card.number}`} aria-label={`Open ${title(card.number)}`}>
              {card.covers.map((index) => (
                <img src={thumbnail(index)} alt="" loading="lazy" draggable={false} />
              ))}
              {!card.size && <span class="empty">no images</span>}
            </a>
            <div class="facts">
              <strong>
                {card.number >= 0 && card.name && <small>{card.number}</small>} {title(card.number)}
              </strong>
              {facts(card).map((fact) => (
                <span>{fact}</span>
              ))}
              {card.merged.length > 0 && <span>merged with class {card.merged.join(", ")}</span>}
              {card.number >= 0 && (
                <label class="check">
                  <input
                    type="checkbox"
                    checked={checkedClasses.value.has(card.number)}
                    onChange={() => toggle(card.number)}
                    aria-label={`Select ${title(card.number)} to merge`}
                  />
                  select
                </label>
              )}
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
