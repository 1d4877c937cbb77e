import { useEffect, useState } from "preact/hooks";
import { api, type Bench, type Trained } from "../api";
import { Modal } from "./dialogs";
import { Command, Unnamed } from "./export";
import { countImages, failure, text } from "../state";
import { duration, followTraining, openTrained, secondsLeft, train, trained, training } from "../training";

export function Train({ state }: { state: Bench }) {
  const [estimate, setEstimate] = useState<number | null>(null);
  useEffect(() => {
    void followTraining();
    api.estimate().then(setEstimate, (error: unknown) => (failure.value = text(error)));
  }, []);
  const now = training.value;
  const result = trained();
  const running = now?.state === "running";
  const left = state.classes.filter((card) => card.number < 0).reduce((sum, card) => sum + card.size, 0);
  const moved = state.corrected - left;
  return (
    <Modal heading="Train again">
      <p>
        Trains the classifier of the network again, in a new run. The run that you see now does not change. The rest of the network
        stays as it is, so training {estimate === null ? "usually takes seconds" : `takes about ${duration(estimate)}`}.
      </p>
      <ul class="uses">
        <li>{moved ? `${countImages(moved)} that you moved: the new ${moved === 1 ? "class is its label" : "classes are their labels"}.` : "You moved no images."}</li>
        {left > 0 && <li>{countImages(left)} marked as outlier or ignored: left out of training.</li>}
        <li>
          Merged classes become one class, and the new run keeps all names. <code>sslkit predict</code> uses names and merges even
          without training.
        </li>
      </ul>
      {running && (
        <label class="progress">
          {now.stage}
          {now.total > 1 && `: ${now.done} of ${now.total}`}
          {secondsLeft.value !== null && `, about ${duration(secondsLeft.value)} left`}
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
            {result.changed > 0 && <button onClick={() => void openTrained(result.images)}>Show changed images</button>}
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
      <ul class="uses">
        {result.moved > 0 && (
          <li>
            The new network puts {Math.round(result.followed * result.moved)} of {countImages(result.moved)} that you moved into the
            class that you chose.
          </li>
        )}
        <li>
          {result.changed
            ? `${result.changed === 1 ? "1 other image has" : `${result.changed} other images have`} another class now.`
            : "No other image has another class now."}
        </li>
        <li>The classes of the new run have new numbers. Compare both runs by the names of the classes.</li>
        {result.left_out > 0 && <li>{countImages(result.left_out)} left out of training.</li>}
        {result.unused > 0 && <li>{countImages(result.unused)} of other splits corrected, but not used for training.</li>}
      </ul>
      <p>Next: write the classes of the image files in a folder to a CSV file. Replace IMAGES by the folder.</p>
      <Unnamed state={state} />
      <Command text={result.predict} />
    </>
  );
}
