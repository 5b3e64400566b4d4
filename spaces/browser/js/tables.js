// Read and write CSV, and parse numbers as people write them.

import dsv from "../vendor/d3-dsv/dsv.js";
import { BadInput } from "./checkpoint.js";

const UNKNOWN = ["", "?", "na", "n/a", "#n/a", "<na>", "nan", "null", "none"];
const DELIMITERS = [",", ";", "\t", "|"];
const DAY = 86_400_000; // milliseconds

/** Return a name in normal form, without case and with single spaces. */
export const normaliseName = (text) => String(text).normalize("NFKC").toLowerCase().trim().replace(/\s+/g, " ");

/** Return true if a value stands for a missing one. */
export const isMissing = (value) => UNKNOWN.includes(normaliseName(value ?? ""));

/**
 * Return a number from its text, NaN if it is none. It may have a decimal comma or thousands separators unless it is
 * ambiguous: 37,5 or 1 196 or 1,234.5, but not 2,174.
 */
export function parseNumber(value) {
  const text = String(value).trim().replace(/\s+/g, " ").replace("\u2212", "-");
  const read = (thousands, decimal) => Number(text.replace(thousands, "").replace(decimal, "."));
  if (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) return Number(text);
  if (/^[-+]?[1-9]\d{0,2}([ '\u2019]\d{3})+([.,]\d+)?$/.test(text)) return read(/[ '\u2019]/g, ",");
  if (/^[-+]?[1-9]\d{0,2}((,\d{3}){2,}(\.\d+)?|,\d{3}\.\d+)$/.test(text)) return read(/,/g, ".");
  if (/^[-+]?[1-9]\d{0,2}((\.\d{3}){2,}(,\d+)?|\.\d{3},\d+)$/.test(text)) return read(/\./g, ",");
  if (/^[-+]?\d*,\d+$/.test(text) && !/^[-+]?[1-9]\d{0,2},\d{3}$/.test(text)) return read("", ",");
  return NaN;
}

const FIELDS = { Y: "\\d{4}", y: "\\d{2}", m: "\\d{1,2}", d: "\\d{1,2}", H: "\\d{1,2}", M: "\\d{2}", S: "\\d{2}" };
const ISO = ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"];

/** Return the days since 1970 of a date, in ISO or in this spelling, such as %d.%m.%Y; NaN if it is none. */
export function parseDate(value, format) {
  const found = [format, ...ISO].map((spelling) => {
    const escaped = spelling.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
    const pattern = escaped.replace(/%([YymdHMS])/g, (_, field) => `(?<${field}>${FIELDS[field]})`);
    return new RegExp(`^${pattern}$`).exec(String(value).trim())?.groups;
  });
  const { Y, y, m, d, H = 0, M = 0, S = 0 } = found.find(Boolean) ?? {};
  const date = new Date(Date.UTC(Y ?? (y < 69 ? `20${y}` : `19${y}`), m - 1, d, H, M, S));
  return date.getUTCMonth() === m - 1 && date.getUTCDate() === Number(d) ? date / DAY : NaN;
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
  const lines = dsv(delimiter).parseRows(content, (cells) => cells.map((cell) => cell.trim()));
  const [names, ...rows] = lines.filter((cells) => cells.some(Boolean));
  if (!names) throw new BadInput("The file is empty; it must be a CSV with a header.");
  const absent = columns.find((column) => !names.includes(column));
  if (absent) throw new BadInput(`The file lacks the column ${absent}; its columns are ${names.join(", ")}.`);
  return rows.map((cells) => Object.fromEntries(names.map((name, index) => [name, cells[index] ?? ""])));
}

/** Return lines of cells as a CSV; texts that a spreadsheet would take for a formula begin with an apostrophe. */
export function writeCsv(lines) {
  const isFormula = (cell) => typeof cell === "string" && /^[=+\-@\t\r]/.test(cell) && Number.isNaN(parseNumber(cell));
  return dsv(",").formatRows(lines.map((cells) => cells.map((cell) => (isFormula(cell) ? `'${cell}` : cell))));
}
