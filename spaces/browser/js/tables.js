// Read and write CSV, and parse numbers as people write them.

import { BadInput } from "./checkpoint.js";

export const MISSING = "?"; // a missing value in the data set
const UNKNOWN = new Set(["", MISSING, "na", "n/a", "#n/a", "<na>", "nan", "null", "none"]);
const DELIMITERS = [",", ";", "\t", "|"];

/** Return a name in normal form, without case and with single spaces. */
export const normaliseName = (text) => String(text).normalize("NFKC").toLowerCase().trim().replace(/\s+/g, " ");

/** Return true if a value stands for a missing one. */
export const isMissing = (value) => value === null || value === undefined || UNKNOWN.has(normaliseName(value));

/**
 * Return a number from its text, NaN if it is none. It may have a decimal comma or thousands separators unless it is
 * ambiguous: 37,5 or 1 196 or 1,234.5, but not 2,174.
 */
export function parseNumber(value) {
  const text = String(value).trim().replace(/\s+/g, " ").replace("\u2212", "-");
  if (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) return Number(text);
  if (/^[-+]?[1-9]\d{0,2}([ '\u2019]\d{3})+([.,]\d+)?$/.test(text)) {
    return Number(text.replace(/[ '\u2019]/g, "").replace(",", "."));
  }
  if (/^[-+]?[1-9]\d{0,2}((,\d{3}){2,}(\.\d+)?|,\d{3}\.\d+)$/.test(text)) return Number(text.replaceAll(",", ""));
  if (/^[-+]?[1-9]\d{0,2}((\.\d{3}){2,}(,\d+)?|\.\d{3},\d+)$/.test(text)) {
    return Number(text.replaceAll(".", "").replace(",", "."));
  }
  if (/^[-+]?\d*,\d+$/.test(text) && !/^[-+]?[1-9]\d{0,2},\d{3}$/.test(text)) return Number(text.replace(",", "."));
  return NaN;
}

const DAY = 86_400_000; // milliseconds

/** Return the days since 1970 of a date, in ISO or in this spelling, such as %d.%m.%Y; NaN if it is none. */
export function parseDate(value, format) {
  const text = String(value).trim();
  const fields = { d: "(?<d>\\d{1,2})", m: "(?<m>\\d{1,2})", Y: "(?<Y>\\d{4})", y: "(?<y>\\d{2})", H: "(?<H>\\d{1,2})", M: "(?<M>\\d{2})", S: "(?<S>\\d{2})" };
  const escaped = (spelling) => spelling.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&").replace(/%([dmYyHMS])/g, (_, one) => fields[one]);
  const spellings = [format, "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"];
  const found = spellings.map((one) => new RegExp(`^${escaped(one)}$`).exec(text)).find(Boolean)?.groups;
  if (!found) return NaN;
  const year = Number(found.Y ?? (found.y < 69 ? `20${found.y}` : `19${found.y}`));
  const date = new Date(Date.UTC(year, found.m - 1, found.d, found.H ?? 0, found.M ?? 0, found.S ?? 0));
  return date.getUTCMonth() === found.m - 1 && date.getUTCDate() === Number(found.d) ? date / DAY : NaN;
}

/** Return the date, in ISO, of some days since 1970. */
export const formatDate = (days) => new Date(days * DAY).toISOString().slice(0, 10);

/**
 * Read a CSV with a header; the delimiter is found in its first line.
 * @param {string} text
 * @param {string[]} columns - columns that must be there
 * @returns {Record<string, string>[]} the rows
 */
export function readCsv(text, columns = []) {
  const content = text.replace(/^\ufeff+/, "").replace(/^sep=.\r?\n/i, "");
  const [firstLine] = content.split(/\r?\n/, 1);
  const count = (delimiter) => firstLine.split(delimiter).length;
  const delimiter = DELIMITERS.reduce((best, one) => (count(one) > count(best) ? one : best));
  const [header, ...lines] = parseCells(content, delimiter).filter((cells) => cells.some((cell) => cell.trim()));
  if (!header) throw new BadInput("The file is empty; it must be a CSV with a header.");
  const names = header.map((name) => name.trim());
  const absent = columns.filter((column) => !names.includes(column));
  if (absent.length) throw new BadInput(`The file lacks the column ${absent[0]}; its columns are ${names.join(", ")}.`);
  return lines.map((cells) => Object.fromEntries(names.map((name, index) => [name, (cells[index] ?? "").trim()])));
}

function parseCells(text, delimiter) {
  const rows = [[]];
  let cell = "";
  let isQuoted = false;
  for (let place = 0; place < text.length; place += 1) {
    const character = text[place];
    if (isQuoted) {
      if (character !== '"') cell += character;
      else if (text[place + 1] === '"') cell += text[(place += 1)];
      else isQuoted = false;
    } else if (character === '"' && !cell) {
      isQuoted = true;
    } else if (character === delimiter || character === "\n") {
      rows.at(-1).push(cell.replace(/\r$/, ""));
      cell = "";
      if (character === "\n") rows.push([]);
    } else {
      cell += character;
    }
  }
  rows.at(-1).push(cell);
  return rows;
}

/** Return rows as a CSV; texts that a spreadsheet would take for a formula begin with an apostrophe. */
export function writeCsv(rows) {
  const columns = [...new Set(rows.flatMap(Object.keys))];
  const write = (value) => {
    const text = String(value ?? "");
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) && Number.isNaN(parseNumber(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [columns, ...rows.map((row) => columns.map((name) => row[name]))].map((cells) => cells.map(write).join(",")).join("\n");
}
