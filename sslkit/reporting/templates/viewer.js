"use strict";
// Enlarged images. A click, Enter or Space on an image opens the viewer; arrow keys move to the next image.
const openViewer = (() => {
  const dialog = document.querySelector("dialog.viewer");
  const picture = new Image();
  dialog.querySelector("figure").prepend(picture);
  const caption = dialog.querySelector("figcaption");
  let items = { count: 0, get: null };
  let current = 0;
  let back = null;

  const show = async (index) => {
    current = (index + items.count) % items.count;
    const { src, text } = await items.get(current);
    picture.src = src;
    picture.alt = text;
    caption.textContent = text;
    await picture.decode();
    const longest = Math.max(picture.naturalWidth, picture.naturalHeight);
    const fit = Math.min((0.92 * innerWidth - 40) / picture.naturalWidth, (0.92 * innerHeight - 150) / picture.naturalHeight);
    const scale = Math.min(fit, Math.max(1, 640 / longest));
    picture.width = Math.round(picture.naturalWidth * scale);
    picture.height = Math.round(picture.naturalHeight * scale);
    picture.classList.toggle("small", longest <= 64);
  };
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(current + step);
  });
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.step) show(current + Number(button.dataset.step));
    else if (button || event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => back?.(current));
  // `items` has a count and a function get(index) that returns {src, text}; `whenClosed` gets the last index.
  return (newItems, index, whenClosed) => {
    items = newItems;
    back = whenClosed;
    dialog.showModal();
    dialog.querySelector("[data-close]").focus();
    show(index);
  };
})();

for (const list of document.querySelectorAll(".tiles, .query")) {
  const buttons = [...list.querySelectorAll("button.tile")];
  // One stop for the Tab key in each list: the arrow keys move within it.
  const select = (index) => {
    buttons.forEach((button, other) => { button.tabIndex = other === index ? 0 : -1; });
    buttons[index].focus();
  };
  buttons.forEach((button, index) => {
    button.tabIndex = index ? -1 : 0;
    button.addEventListener("click", () => {
      const get = (number) => {
        const image = buttons[number].querySelector("img");
        return { src: image.src, text: image.alt };
      };
      openViewer({ count: buttons.length, get }, index, select);
    });
    button.addEventListener("keydown", (event) => {
      const columns = buttons.filter((other) => other.offsetTop === buttons[0].offsetTop).length;
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
      const target = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : index + step;
      if (!(target in buttons)) return;
      event.preventDefault();
      select(target);
    });
  });
}
