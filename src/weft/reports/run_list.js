// Sorts the runs by the column whose head is pressed, and shows those that have all words typed.
for (const table of document.querySelectorAll("table.runs")) {
  const body = table.tBodies[0], rows = [...body.rows];
  const field = document.querySelector(".filter input"), count = document.querySelector(".filter [role=status]");
  const key = (row, column) => {
    const cell = row.cells[column], number = cell.dataset.sort;
    return number === undefined ? cell.textContent.trim() : Number(number);
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.ariaSort === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      rows.sort((one, other) => {
        const a = key(one, column), b = key(other, column);
        if (a === "" || b === "") return (a === "") - (b === ""); // nothing known: last, either way
        const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
        return falling ? -order : order;
      });
      body.append(...rows);
    });
  });
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? ` ${shown} of ${rows.length}` : "";
  });
}
