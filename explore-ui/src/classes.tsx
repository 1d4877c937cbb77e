import { OUTLIER, thumbnail, type Bench, type ClassCard } from "./api";
import { isDigit, useKeys } from "./keys";
import { checkedClasses, countImages, dialog, nameClass, title } from "./state";

const percent = (value: number) => `${Math.round(100 * value)} %`;

export function Facts({ card }: { card: ClassCard }) {
  if (card.number < 0) return <span>{countImages(card.size)}</span>;
  return (
    <>
      <span>{countImages(card.size)}</span>
      {card.confidence !== null && (
        <span title="Mean probability of the class, according to the network">confidence {percent(card.confidence)}</span>
      )}
      {card.stability !== null && (
        <span title="Share of the run's other classifiers that find the same class">stability {percent(card.stability)}</span>
      )}
      {card.majority !== null && (
        <span title="Most frequent label, and its share of the images with a label">
          {card.majority} {percent(card.purity ?? 0)}
        </span>
      )}
      {card.corrected > 0 && <span title="Images that you moved into this class">{card.corrected} corrected</span>}
    </>
  );
}

// The title of a class, with the number of a named class: its key and its number in CSV files.
export function Title({ card }: { card: ClassCard }) {
  return (
    <>
      {card.number >= 0 && card.name && <small class="number">{card.number}</small>} {title(card.number)}
    </>
  );
}

export function Classes({ state }: { state: Bench }) {
  const checked = [...checkedClasses.value].filter((number) => state.classes.some((card) => card.number === number));
  const toggle = (number: number) => {
    const next = new Set(checkedClasses.value);
    if (!next.delete(number)) next.add(number);
    checkedClasses.value = next;
  };
  useKeys((event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const links = [...document.querySelectorAll<HTMLAnchorElement>(".cards a.cover")];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    const columns = links.filter((link) => link.offsetTop === links[0]?.offsetTop).length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    const focused = state.classes[at];
    if (step !== undefined) {
      event.preventDefault();
      links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + step))]?.focus();
    } else if (isDigit(event)) {
      if (state.classes.some((card) => card.number === Number(event.key))) location.hash = `#/class/${event.key}`;
    } else if (event.key === "n" && focused && focused.number >= 0) {
      event.preventDefault();
      nameClass(focused);
    }
  });
  return (
    <>
      <section class="scroll" aria-label="Classes">
        <div class="bar">
          <h2>{state.classes.filter((card) => card.number > OUTLIER).length} classes</h2>
          {state.missing > 0 && <p class="note">{state.missing} corrected images are no longer in the folder.</p>}
          {state.notes.map((note) => (
            <p class="note">{note}</p>
          ))}
        </div>
        <ul class="cards">
          {state.classes.map((card) => (
            <li key={card.number} data-class={card.number} class={checkedClasses.value.has(card.number) ? "checked" : ""}>
              <a class="cover" href={`#/class/${card.number}`} aria-label={`Open ${title(card.number)}`}>
                <span class="pictures">
                  {card.covers.map((index) => (
                    <img src={thumbnail(index)} alt="" loading="lazy" draggable={false} />
                  ))}
                  {!card.size && <span class="empty">no images</span>}
                </span>
                <strong>
                  <Title card={card} />
                </strong>
              </a>
              <div class="facts">
                <Facts card={card} />
                {card.merged.length > 0 && <span>merged with class {card.merged.join(", ")}</span>}
                {card.number >= 0 && (
                  <span class="choices">
                    <button onClick={() => nameClass(card)} aria-label={`Name ${title(card.number)}`} title="Name the class (n)">
                      Name
                    </button>
                    <label class="check">
                      <input
                        type="checkbox"
                        checked={checkedClasses.value.has(card.number)}
                        onChange={() => toggle(card.number)}
                        aria-label={`Select ${title(card.number)} to merge`}
                      />
                      select
                    </label>
                  </span>
                )}
              </div>
            </li>
          ))}
        </ul>
      </section>
      {checked.length > 0 && (
        <section class="selection" aria-label="Selected classes">
          <strong role="status">{checked.length === 1 ? "1 class" : `${checked.length} classes`} selected</strong>
          <button class="primary" disabled={checked.length < 2} onClick={() => (dialog.value = "merge")}>
            Merge…
          </button>
          <button onClick={() => (checkedClasses.value = new Set())}>Clear</button>
          {checked.length < 2 && <span class="note">Select another class to merge it with this one.</span>}
        </section>
      )}
    </>
  );
}
