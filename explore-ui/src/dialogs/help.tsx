// Dialog with the words and keys of the page.

import { Modal } from "./dialogs";

const WORDS: [string, string][] = [
  ["Outlier", "the image shows something that belongs to no class, for example a damaged picture"],
  ["Ignore", "the image shall have no class for another reason, for example because it is a duplicate or unclear"],
  ["Remove corrections", "gives the images the class back that the network found. Undo only undoes the latest correction"],
  ["Confidence", "probability of the class, according to the network; on a card, the mean over the images"],
  [
    "Stability",
    "a run trains several classifiers from different random weights. Stability is the share of the other classifiers that find the same class. A run that you trained again has one classifier, and so no stability",
  ],
  ["Outlier score", "how far an image is from similar images: 0 is typical, 3.5 and more is unusual"],
];

const KEYS: [string, string][] = [
  ["← → ↑ ↓", "move between images or classes; with Shift, select a range"],
  ["Space", "select or unselect the image"],
  ["Ctrl + A, Escape", "select all images, clear the selection"],
  ["Enter", "show the original image; ← and → show its neighbours, Escape closes it"],
  ["0 … 9", "move the selected images to the class with this number; on the page Classes, open it"],
  ["m", "move the selected images to any class or a new class"],
  ["o, i, r", "mark as outlier, ignore, remove corrections"],
  ["l", "more images like this"],
  ["n", "name the open class; on the page Classes, name the class with the focus"],
  ["s", "split the open class"],
  ["Ctrl + Z, Ctrl + Shift + Z", "undo, redo"],
  ["t", "train again with the corrections"],
  ["/", "search by file name"],
  ["?", "this help"],
];

export function Help() {
  return (
    <Modal heading="Help">
      <p>
        Click an image to select it, with Shift for a range, with Ctrl for more than one, or drag a rectangle. A double click shows
        the original. Every correction is saved at once, in <code>corrections.csv</code> and <code>classes.toml</code> of the run.
      </p>
      <Table rows={WORDS} />
      <h3>Keys</h3>
      <Table rows={KEYS} />
    </Modal>
  );
}

function Table({ rows }: { rows: [string, string][] }) {
  return (
    <table>
      <tbody>
        {rows.map(([term, meaning]) => (
          <tr>
            <th scope="row">{term}</th>
            <td>{meaning}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
