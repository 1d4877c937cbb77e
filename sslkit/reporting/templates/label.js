// The page cannot write files, so it turns the names into the command that saves them.
const inputs = [...document.querySelectorAll("input[data-class]")];
const command = document.getElementById("command");
const copy = document.getElementById("copy");
const statusLine = document.getElementById("status");
// Within single quotes a shell takes every character literally, except the quote itself.
const quote = (text) => (/^[\w.\/=:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

const update = () => {
  const changed = inputs.filter((input) => input.value.trim() !== input.dataset.saved);
  const names = inputs.map((input) => input.value.trim()).filter(Boolean);
  const settings = changed.map((input) => `--set ${quote(`${input.dataset.class}=${input.value.trim()}`)}`);
  command.textContent = ["sslkit label", quote(document.querySelector(".bar").dataset.run), ...settings].join(" ");
  command.hidden = copy.hidden = !changed.length;
  copy.textContent = "Copy the command";
  const distinct = new Set(names).size;
  const merged = distinct < names.length ? `, merged into ${distinct}` : "";
  statusLine.textContent = changed.length
    ? `${names.length} of ${inputs.length} classes named${merged}. To save the names, run:`
    : "No changes yet.";
};
for (const input of inputs) input.addEventListener("input", update);
copy.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(command.textContent);
    copy.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(command);
    copy.textContent = "Selected: copy it with Ctrl-C";
  }
});
update();
