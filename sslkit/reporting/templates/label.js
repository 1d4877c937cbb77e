"use strict";
// What was typed becomes the command that keeps it; the page itself can write nothing.
const inputs = [...document.querySelectorAll("input[data-class]")];
const command = document.getElementById("command");
const copy = document.getElementById("copy");
const told = document.getElementById("told");
// In single quotes a shell takes everything as it is, but for the quote itself.
const quoted = (text) => (/^[\w.\/=:@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

const update = () => {
  const changed = inputs.filter((input) => input.value.trim() !== input.dataset.saved);
  const names = inputs.map((input) => input.value.trim()).filter(Boolean);
  const settings = changed.map((input) => `--set ${quoted(`${input.dataset.class}=${input.value.trim()}`)}`);
  command.textContent = ["sslkit label", quoted(document.querySelector(".bar").dataset.run), ...settings].join(" ");
  command.hidden = copy.hidden = !changed.length;
  copy.textContent = "Copy the command";
  const merged = names.length - new Set(names).size;
  told.textContent = changed.length
    ? `${names.length} of ${inputs.length} classes named` + (merged ? `, merged into ${new Set(names).size}` : "") + "; to keep that, run:"
    : "Nothing is changed yet.";
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
