import { useEffect } from "preact/hooks";
import type { Bench, Trained } from "./api";
import { Modal } from "./dialogs";
import { countImages } from "./state";
import { followTraining, openTrained, train, trained, training } from "./training";

export function Train({ state }: { state: Bench }) {
  useEffect(() => void followTraining(), []);
  const now = training.value;
  const result = trained();
  const running = now?.state === "running";
  return (
    <Modal heading="Train again">
      <p>
        Trains the head of the network again, in a new run, with {state.corrected} corrected {state.corrected === 1 ? "image" : "images"}. Images that you moved are
        labels, and outliers and ignored images are left out. The run that you see now does not change.
      </p>
      {running && (
        <label class="progress">
          {now.stage}
          {now.total > 1 && `: ${now.done} of ${now.total}`}
          <progress max={now.total} value={now.total > 1 ? now.done : undefined} />
        </label>
      )}
      {now?.state === "failed" && <p role="alert">{now.error}</p>}
      {result && !running && <Result result={result} state={state} />}
      <div class="buttons end">
        <button class={result ? "" : "primary"} disabled={running} onClick={() => void train()}>
          {result ? "Train once more" : "Train"}
        </button>
        {result && !running && (
          <>
            <button disabled={!result.changed} onClick={() => void openTrained(result.images)}>
              Show changed images
            </button>
            <button class="primary" onClick={() => void openTrained(null)}>
              Show the new run
            </button>
          </>
        )}
      </div>
    </Modal>
  );
}

function Result({ result, state }: { result: Trained; state: Bench }) {
  const before = state.classes.filter((card) => card.number >= 0).length;
  return (
    <>
      <p role="status">The new run is {result.run}.</p>
      <table>
        <thead>
          <tr>
            <td />
            <th scope="col">Before</th>
            <th scope="col">After</th>
          </tr>
        </thead>
        <tbody>
          <tr>
            <th scope="row">Classes</th>
            <td>{before}</td>
            <td>{result.classes}</td>
          </tr>
          {result.before !== null && result.after !== null && (
            <tr>
              <th scope="row">Accuracy on test images</th>
              <td>{result.before.toFixed(3)}</td>
              <td>{result.after.toFixed(3)}</td>
            </tr>
          )}
        </tbody>
      </table>
      <p>
        {countImages(result.moved)} moved by you: the new head agrees for {Math.round(100 * result.followed)} %.{" "}
        {countImages(result.changed)} without a correction {result.changed === 1 ? "is" : "are"} in another class now.
        {result.left_out > 0 && ` ${countImages(result.left_out)} left out.`}
        {result.unused > 0 && ` ${countImages(result.unused)} of other splits corrected, but not used for training.`}
      </p>
    </>
  );
}
