import { lazy, Suspense } from "preact/compat";
import { useEffect } from "preact/hooks";
import { Classes } from "./classes";
import { Dialogs } from "./dialogs/dialogs";
import { Gallery } from "./gallery/gallery";
import { useKeys } from "./keys";
import { SelectionBar } from "./gallery/selection-bar";
import { actions, bench, dialog, failure, message, route, status, viewed } from "./state";
import { Toolbar } from "./gallery/toolbar";
import { followTraining, training } from "./training";
import { Viewer } from "./viewer";

const FeatureMap = lazy(() => import("./map/feature-map").then((module) => module.FeatureMap));

export function App() {
  useKeys((event) => {
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key.toLowerCase() === "z") {
      event.preventDefault();
      void (event.shiftKey ? actions.redo() : actions.undo());
    } else if (control && event.key.toLowerCase() === "y") {
      event.preventDefault();
      void actions.redo();
    } else if (event.key === "?") {
      dialog.value = "help";
    } else if (event.key === "t" && !control && bench.value?.undo) {
      dialog.value = "train";
    } else if (event.key === "/") {
      const search = document.querySelector<HTMLInputElement>("#search");
      if (search) {
        event.preventDefault();
        search.focus();
      }
    }
  });
  useEffect(() => {
    if (!message.value) return;
    const timer = setTimeout(() => (message.value = ""), 4000);
    return () => clearTimeout(timer);
  }, [message.value]);
  const state = bench.value;
  if (!state) return <Loading />;
  const current = route.value;
  return (
    <>
      <Header />
      {failure.value && (
        <p class="failure" role="alert">
          {failure.value} <button onClick={() => (failure.value = "")}>Close</button>
        </p>
      )}
      <main id="main">
        {current.view === "classes" && <Classes state={state} />}
        {current.view === "images" && (
          <>
            <Toolbar state={state} />
            <Gallery />
          </>
        )}
        {current.view === "map" && (
          <Suspense fallback={<p class="empty">Loading the map…</p>}>
            <FeatureMap state={state} />
          </Suspense>
        )}
      </main>
      <SelectionBar />
      <Dialogs state={state} />
      {viewed.value !== null && <Viewer index={viewed.value} />}
      <div class="message" role="status">
        {message.value}
      </div>
    </>
  );
}

function Header() {
  const state = bench.value!;
  const view = route.value.view;
  const current = (on: boolean) => (on ? "page" : undefined);
  useEffect(() => void followTraining(), []);
  return (
    <header>
      <h1>{state.run}</h1>
      <nav aria-label="Views">
        <a href="#/" aria-current={current(view === "classes")}>
          Classes
        </a>
        <a href="#/all" aria-current={current(location.hash === "#/all")}>
          All images
        </a>
        <a href="#/map" aria-current={current(view === "map")}>
          Map
        </a>
      </nav>
      <span class="counts">
        {state.images} images, {state.corrected} corrected
      </span>
      <div class="buttons">
        <button onClick={() => void actions.undo()} disabled={!state.undo} title="Undo (Ctrl+Z)">
          Undo
        </button>
        <button onClick={() => void actions.redo()} disabled={!state.redo} title="Redo (Ctrl+Shift+Z)">
          Redo
        </button>
        <button
          class={state.untrained && state.corrected ? "primary" : ""}
          onClick={() => (dialog.value = "train")}
          disabled={!state.undo}
          title="Train the classifier again with the corrections (t)"
        >
          {training.value?.state === "running" ? "Training…" : "Train again"}
        </button>
        <button onClick={() => (dialog.value = "export")} title="Write the classes of image files to a CSV file">
          Export
        </button>
        <button onClick={() => (dialog.value = "help")} aria-label="Help" title="Help (?)">
          ?
        </button>
      </div>
    </header>
  );
}

function Loading() {
  const state = status.value;
  if (failure.value || state?.state === "failed") {
    return (
      <main class="loading">
        <h1>sslkit explore</h1>
        <p role="alert">{failure.value || state?.error}</p>
      </main>
    );
  }
  return (
    <main class="loading">
      <h1>{state?.run ?? "sslkit explore"}</h1>
      <label>
        {state ? state.stage : "connecting"}
        {state && state.total > 1 ? `: ${state.done} of ${state.total}` : ""}
        <progress max={state?.total} value={state && state.total > 1 ? state.done : undefined} />
      </label>
    </main>
  );
}
