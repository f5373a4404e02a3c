"use strict";
document.documentElement.classList.add("js");

/* Tables sort by a click on a column's name: numbers by size (the largest first, then the smallest), names by the alphabet. */
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortBy(table, heads, column));
  });
}

function sortBy(table, heads, column) {
  const body = table.tBodies[0];
  const before = heads[column].getAttribute("aria-sort");
  const value = (row) => row.cells[column].dataset.value;
  const rows = [...body.rows];
  const isNumber = (text) => text !== "" && Number.isFinite(Number(text));
  const numeric = rows.some((row) => isNumber(value(row)));
  const falling = before ? before === "ascending" : numeric;
  const sign = falling ? -1 : 1;
  rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (!numeric) return sign * x.localeCompare(y, "en", { numeric: true });
    if (!isNumber(x) || !isNumber(y)) return Number(isNumber(y)) - Number(isNumber(x)); // what has no value comes last
    return sign * (Number(x) - Number(y));
  });
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
  body.append(...rows);
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("table.sortable").forEach(sortable));
