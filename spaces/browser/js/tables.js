// Read and write CSV, and parse numbers and dates as people write them.

import { BadInput } from "./checkpoint.js";
import { range, zip } from "./numbers.js";

const EXCEL_ERRORS = "#n/a #div/0! #value! #ref! #num! #name? #null! #nv #wert! #bezug! #zahl!".split(" ");
const UNKNOWN = ["", "?", "na", "n/a", "<na>", "nan", "null", "none", ...EXCEL_ERRORS];
const DELIMITERS = { ",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar" };
const CURRENCIES = /^[$\u20ac\xa3\xa5\s]+|[$\u20ac\xa3\xa5\s]+$/g;
const SIGNS = /^[$\u20ac\xa3\xa5% ]+|[$\u20ac\xa3\xa5% ]+$/g; // around a number in a column of known spelling, and
const CODES = /^(EUR|USD|GBP|CHF)|(EUR|USD|GBP|CHF)$/i; // one of these
const ONE_COMMA = /^[-+]?[1-9]\d{0,2},\d{3}$/; // ambiguous: thousands, or three decimals
const LONGEST = 1000; // characters of a number or a name
const MAX_BYTES = 50_000_000; // of a file, and
const MAX_ROWS = 100_000; // of a table, as in shared/limits.py
const DAY = 86_400_000; // milliseconds
const NOT_IN_1252 = [0x81, 0x8d, 0x8f, 0x90, 0x9d]; // bytes
const NO_TEXT = "This is not a text file or a CSV; save the table as CSV first.";
const LINE_END = /\r\n?|\n/;
const ASCII = /^[\x00-\x7f]*$/;
const INVISIBLE =
  /[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}]/gu;
const JOINERS =
  /(?<![\u0590-\u1dff\u2190-\u{10ffff}])[\u200c\u200d\ufe00-\ufe0f\u{e0001}\u{e0020}-\u{e007f}\u{e0100}-\u{e01ef}]+/gu;

const collapse = (text) => String(text).trim().replace(/\s+/g, " ");

/** Return a text without invisible characters; joiners are kept where emoji or a script need them. */
export const stripInvisible = (text) => (ASCII.test(text) ? text : text.replace(INVISIBLE, "").replace(JOINERS, ""));

/** Return a text without case, as Python's casefold: STRASSE is Straße; only the Turkish i without a dot is no I. */
const foldCase = (text) =>
  text
    .replaceAll("\u1e9e", "ss") // a capital sharp s, whose small letter has no capital in JavaScript
    .replace(/[^\u0131]+/g, (part) => part.toUpperCase().toLowerCase())
    .replaceAll("\u03c2", "\u03c3");

/** Return a name in normal form, without case and with single spaces. */
export const normaliseName = (text) =>
  collapse(foldCase(stripInvisible(String(text)).slice(0, LONGEST).normalize("NFKC")));

/** Return a text with the digits of all scripts as 0 to 9. */
const toAsciiDigits = (text) =>
  text.replace(/(?![0-9])\p{Nd}/gu, (digit) => {
    let zero = digit.codePointAt(0);
    while (/\p{Nd}/u.test(String.fromCodePoint(zero - 1))) zero -= 1;
    return String((digit.codePointAt(0) - zero) % 10);
  });

/** Return the text of a whole number without decimals, "5" for "5.0"; pandas writes them beside missing ones. */
export const dropZeros = (text) => text.replace(/^([-+]?\d+)\.0+$/, "$1");

/** Return true if a value stands for a missing one. */
export const isMissing = (value) => UNKNOWN.includes(normaliseName(value ?? ""));

/**
 * Return a number from its text, NaN if it is none. It may have a decimal comma or thousands separators unless it is
 * ambiguous: 37,5 or 1 196 or 1,234.5, but not 2,174. If the decimal sign is known, nothing is: $ 2,174, 2,174 EUR or 12,5 %.
 */
export function parseNumber(value, decimal = null) {
  if (String(value).length > LONGEST) return NaN;
  const text = toAsciiDigits(collapse(stripInvisible(String(value)))).replace("\u2212", "-");
  const read = (thousands, point) => Number(text.replace(thousands, "").replace(point, "."));
  if (decimal && typeof value === "string") {
    const marks = `[${decimal === "," ? "." : ","} '\u2019]`; // of thousands
    const signed = text.replace(SIGNS, "").replace(/^\((.*)\)$/, "-$1"); // (5) is -5, as in accounts
    const sign = /^[-+]/.test(signed) ? signed[0] : "";
    const bare = sign + signed.slice(sign.length).replace(SIGNS, "").replace(CODES, "").replace(SIGNS, "");
    const whole = `(\\d+|[1-9]\\d{0,2}(${marks}\\d{3})+)?`;
    const isNumber = new RegExp(`^[-+]?${whole}([${decimal}]\\d*)?(e[-+]?\\d+)?$`, "i").test(bare);
    const found = parseFloat(bare.replace(new RegExp(marks, "g"), "").replace(decimal, "."));
    if (isNumber && !Number.isNaN(found)) return found;
  }
  if (/^[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?$/i.test(text)) return Number(text);
  if (/^[-+]?[1-9]\d{0,2}([ '\u2019]\d{3})+([.,]\d+)?$/.test(text)) return read(/[ '\u2019]/g, ",");
  if (/^[-+]?[1-9]\d{0,2}((,\d{3}){2,}(\.\d+)?|,\d{3}\.\d+)$/.test(text)) return read(/,/g, ".");
  if (/^[-+]?[1-9]\d{0,2}((\.\d{3}){2,}(,\d+)?|\.\d{3},\d+)$/.test(text)) return read(/\./g, ",");
  if (/^[-+]?\d*,\d+$/.test(text) && !ONE_COMMA.test(text)) return read("", ",");
  return NaN;
}

/** Return a hint, after a space, on how to write a number that parseNumber refuses; see shared/text.py. */
export function suggestNumber(value) {
  const text = stripInvisible(String(value)).trim();
  const bare = text.length < 40 ? text.replace(CURRENCIES, "") : text;
  if (ONE_COMMA.test(bare)) {
    const [thousands, decimals] = ["", "."].map((mark) => bare.replace(",", mark));
    return ` Write ${thousands} if the comma separates thousands, or ${decimals} if it is a decimal comma.`;
  }
  const number = bare === text ? NaN : parseNumber(bare);
  return Number.isNaN(number) ? "" : ` Write it without a sign of currency: ${formatDigits(number)}.`;
}

/** Return a number with at most 10 digits, as Python's format .10g does, or ,.10g with thousands separators. */
export function formatDigits(number, useGrouping = false) {
  const [digits, exponent] = number.toExponential(9).split("e");
  if (exponent < -4 || exponent > 9) return `${Number(digits)}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  return number.toLocaleString("en", { maximumSignificantDigits: 10, useGrouping });
}

/** Return a range; numbers that are all from 1,000 to 9,999 may be years, which have no thousands separators. */
export function formatRange(low, high) {
  const useGrouping = low < 1_000 || high >= 10_000;
  return `${formatDigits(low, useGrouping)} to ${formatDigits(high, useGrouping)}`;
}

/** Return a value in quotation marks, shortened, on one line; see shared/errors.py. */
export function quote(value) {
  const marked = collapse(value).replaceAll("<", "‹").replaceAll(">", "›");
  const letters = [...marked.replace(/(?! )[\p{C}\p{Z}]/gu, "?")];
  return `'${letters.length > 40 ? `${letters.slice(0, 37).join("")}...` : letters.join("")}'`;
}

const MONTHS = range(12).map((month) => new Date(2000, month).toLocaleString("en", { month: "long" }).toLowerCase());
const FIELDS = { Y: "\\d{4}", y: "\\d{2}", m: "\\d{1,2}", d: "\\d{1,2}", b: "[a-z]{3}", B: "[a-z]+", a: "[a-z]{3}" };
const TIME =
  "([ T](?<H>\\d{1,2}):(?<M>[0-5]?\\d)(:(?<S>[0-5]?\\d)(\\.\\d+)?)?( (?<half>[ap])m)?( ?(Z|(?<sign>[-+])(?<zone>\\d\\d):?(?<more>\\d\\d)))?)?";

const [FIRST_DAY, END_DAY] = [-719_162, 2_932_897]; // of years 1 to 9999

/** Return the days since 1970 of a date, in ISO or in this spelling, such as %d %b %Y; NaN if it is none. A year of two
 * digits may have four. */
export function parseDate(value, format) {
  for (const spelling of [format, format.replace("%y", "%Y"), "%Y-%m-%d"]) {
    const fields = [];
    const pattern = spelling.replace(/%([YymdbBa])|[^\w\s]/g, (sign, field) => {
      if (field) fields.push(field);
      return field ? `(${FIELDS[field]})` : `\\${sign}`;
    });
    const found = new RegExp(`^${pattern}${TIME}$`, "i").exec(collapse(value));
    if (!found) continue;
    const { Y, y, m, d, b, B } = zip(fields, found.slice(1));
    const { H = 0, M = 0, S = 0, half, sign, zone = 0, more = 0 } = found.groups;
    const name = (B ?? b)?.toLowerCase();
    const month = m ? m - 1 : MONTHS.findIndex((one) => name === (B ? one : one.slice(0, 3)));
    if (half && !(H >= 1 && H <= 12)) continue;
    const hour = half ? (H % 12) + (/p/i.test(half) ? 12 : 0) : H;
    const date = new Date(0);
    date.setUTCFullYear(Y ?? (y < 50 ? `20${y}` : `19${y}`), month, d); // Date.UTC takes 91 for 1991
    date.setUTCHours(hour, M, S);
    if (date.getUTCMonth() !== month || date.getUTCDate() !== Number(d)) continue;
    const ahead = (sign === "-" ? -1 : 1) * (zone * 60 + Number(more)) * 60_000;
    return (date - ahead) / DAY;
  }
  return NaN;
}

/** Return a date, or a number of days, as days since 1970; NaN if it is neither, or outside the years 1 to 9999. */
export function readDate(value, format) {
  const days = typeof value === "number" ? value : parseDate(value, format);
  return days >= FIRST_DAY && days < END_DAY ? days : NaN;
}

/** Return the date, in ISO, of some days since 1970. */
export function formatDate(days) {
  const date = new Date(days * DAY);
  return Number.isNaN(date.getTime()) ? String(days) : date.toISOString().slice(0, 10);
}

/** Return the text of a file in UTF-8, UTF-16 or, if its bytes look like that, Windows-1252. */
export async function readText(file) {
  if (file.size > MAX_BYTES) throw new BadInput("The file is larger than 50 MB; split it into smaller files.");
  const bytes = new Uint8Array(await file.arrayBuffer());
  const marked = { 0xfffe: "utf-16le", 0xfeff: "utf-16be" }[256 * bytes[0] + bytes[1]];
  const wide = marked ?? ["utf-16be", "utf-16le"][bytes.subarray(0, 2).indexOf(0)]; // a letter has a zero byte, too
  let text;
  try {
    text = new TextDecoder(wide ?? "utf-8", { fatal: true }).decode(bytes);
  } catch {
    if (!wide && bytes.includes(0)) throw new BadInput(NO_TEXT);
    if (wide || !looksWestern(bytes)) {
      throw new BadInput("The file is not in the encoding UTF-8; save the file as UTF-8 (in Excel: CSV UTF-8).");
    }
    text = new TextDecoder("windows-1252").decode(bytes);
  }
  if (text.includes("\0")) throw new BadInput(NO_TEXT);
  return text;
}

/** Return whether bytes above 127 look like Western European letters; see shared/tables/encoding.py. */
function looksWestern(bytes) {
  let [high, foreign] = [0, 0];
  for (let start = 0, end; start < bytes.length; start = end + 1) {
    for (end = start; bytes[end] > 127;) end += 1;
    if (end === start) continue;
    const word = bytes.subarray(start, end);
    high += word.length;
    if (word.length >= 4 && new Set(word).size > 2) foreign += word.length;
    for (let at = 0; at < word.length;) {
      const size = word[at] < 0xc2 ? 0 : word[at] < 0xe0 ? 2 : word[at] < 0xf0 ? 3 : word[at] < 0xf5 ? 4 : 0;
      const rest = word.subarray(at + 1, at + size);
      const isSequence = size && rest.length === size - 1 && rest.every((byte) => byte < 0xc0);
      if (isSequence) foreign += size;
      at += isSequence ? size : 1;
    }
    if (NOT_IN_1252.some((byte) => word.includes(byte))) return false;
  }
  return foreign <= high / 2;
}

const countLineEnds = (text) => text.split(LINE_END).length - 1;

/**
 * Yield the rows of a CSV, as Python's csv module reads them with skipinitialspace: the cells, the lines, and the quoted cells
 * of several lines, each with its index, the lines of the text on which it opens and closes, and whether it ends there.
 * @param {number} line - the line of the file on which the text begins; 0 if the text may end within a cell
 */
function* splitRows(text, delimiter, line = 0) {
  const mark = delimiter.replace(/[|^]/, "\\$&");
  const cell = new RegExp(` *(?:"([^"]*(?:""[^"]*)*)("?))?([^${mark}\\r\\n]*)(${mark}|\\r\\n?|\\n|$)`, "gy");
  let [row, quotedCells, number, begin] = [[], [], 0, 0];
  while (cell.lastIndex < text.length || row.length) {
    const [, quoted = "", closing, rest, end] = cell.exec(text);
    if (closing === "" && line) {
      throw new BadInput(
        `The quotation mark on line ${line + number} of the CSV is never closed, so the rows after it cannot be told ` +
          "apart; close it, or delete it.",
      );
    }
    const count = quoted ? countLineEnds(quoted) : 0;
    if (count) quotedCells.push({ index: row.length, opens: number, closes: number + count, isClean: !rest.trim() });
    number += count; // of line ends so far
    row.push(quoted.replaceAll('""', '"') + rest);
    if (end === delimiter) continue;
    const lines = quotedCells.length ? text.slice(begin, cell.lastIndex - end.length).split(LINE_END) : [];
    yield { cells: row, lines, quotedCells, line };
    number += 1;
    [row, quotedCells, begin] = [[], [], cell.lastIndex];
  }
}

/** Return a sentence if an unclosed quotation mark seems to have merged several rows into one; see shared/tables/quotes.py. */
function findSwallowedRows({ cells, lines, quotedCells, line }, delimiter, columns) {
  const isNumber = (text) => /^[-+]?[\d.]+$/.test(text.trim());
  if (!quotedCells.length || cells.length > 2 * columns) return "";
  const first = quotedCells.at(-1).closes - lines.length + 1;
  const numbers = range(cells.length).filter((index) => isNumber(cells[index]));
  for (const { index, opens, closes, isClean } of quotedCells) {
    const isLast = index === cells.length - 1; // then the quotation mark may be meant to protect delimiters
    const looksLikeRow = (text) => {
      const parts = text.trim().split(delimiter);
      return parts.length === cells.length && numbers.every((place) => place === index || isNumber(parts[place]));
    };
    const others = lines.slice(opens - first + (isLast ? 1 : 0), closes - first + 1);
    const areRows = numbers.slice(0, 2).some((place) => place !== index) && others.every(looksLikeRow);
    const [from, to] = [line + opens, line + closes];
    if (areRows || !isClean) {
      return (
        `Lines ${from} to ${to} are one cell, since the quotation mark on line ${from} is not closed before line ${to}; ` +
        "close it on its own line, or delete it."
      );
    }
  }
  return "";
}

/**
 * Read a CSV with a header. As in shared/tables, the delimiter is found, columns match in any case and with any
 * separator, and a row with a wrong number of cells gets an error.
 * @param {string} text
 * @param {string[]} columns - columns that must be there
 * @param {number} most - rows that it may have
 * @returns {{names: string[], values: string[], row: Record<string, string>, error: string | false, delimiter: string}[]} for
 *     each row, the names and values of the file, and the values by their columns
 */
export function readCsv(text, columns = [], most = MAX_ROWS) {
  const [start, given] = /^[\ufeff\u200b\u2060]*(?:"?sep=([,;|:~^\t])"?\r?\n)?/i.exec(text);
  const content = text.slice(start.length);
  const split = (delimiter, lines, most, line) => {
    const rows = [];
    for (const row of splitRows(lines, delimiter, line)) {
      if (row.cells.some((cell) => cell.trim())) {
        const cells = row.cells.map((one) => readEscaped(one.trim()));
        rows.push({ cells, fault: rows.length ? findSwallowedRows(row, delimiter, rows[0].cells.length) : "" });
      }
      if (rows.length === most) break;
    }
    return rows;
  };
  const [firstLine] = content.slice(content.lastIndexOf("\n", content.search(/\S/)) + 1).split(LINE_END, 1);
  const fitness = (delimiter) => {
    const [{ cells: names } = { cells: [] }] = split(delimiter, firstLine); // which may end within a cell
    return 1e6 * findColumns(names, columns).filter((places) => places.length).length + names.length;
  };
  const delimiter = given ?? Object.keys(DELIMITERS).reduce((best, one) => (fitness(one) > fitness(best) ? one : best));
  const [header, ...lines] = split(delimiter, content, most + 2, start.split(LINE_END).length); // one too many shows that there are
  if (!header) throw new BadInput("The file is empty; it must be a CSV with a header.");
  const names = header.cells.map((name) => collapse(stripInvisible(name)));
  while (names.length && !names.at(-1)) names.pop();
  if (!names.length) throw new BadInput("The first line has no names of columns; name them there.");
  const seen = new Set();
  const repeated = names.find((name) => name && (seen.has(name) || !seen.add(name)));
  const places = findColumns(names, columns);
  const absent = columns.filter((_, index) => !places[index].length);
  if (absent.length) {
    const which = `column${absent.length > 1 ? "s" : ""} ${absent.join(", ")}`;
    throw new BadInput(`The CSV lacks the ${which}; its first line has: ${names.join(", ")}.`);
  }
  const double = repeated ?? columns.find((_, index) => places[index].length > 1);
  if (double) throw new BadInput(`The CSV names the column '${double}' twice.`);
  if (lines.length > most) {
    throw new BadInput(`The CSV has more than ${most.toLocaleString("en")} rows; split it into smaller files.`);
  }
  const keys = [...names];
  places.forEach(([place], index) => (keys[place] = columns[index]));
  return lines.map(({ cells: values, fault }) => {
    const isLong = values.slice(names.length).some(Boolean);
    const mark = DELIMITERS[delimiter] ?? delimiter;
    const hint = isLong ? ` Put quotation marks around a cell with a ${mark} in it.` : "";
    const count = `${values.length} cell${values.length > 1 ? "s" : ""}`;
    const sentence = `The row has ${count}; the header has ${names.length}.${hint}`;
    return {
      names,
      values,
      delimiter,
      row: zip(keys, values),
      error: fault || ((isLong || values.length < names.length) && sentence),
    };
  });
}

/** Return the places of each column among names: of the name itself, else of those that differ in case and separators, and
 * that no other column has. */
function findColumns(names, columns) {
  const loosen = (name) => normaliseName(name).replace(/[-_. ]/g, "");
  const exact = columns.map((column) => names.indexOf(column));
  const taken = new Set(exact);
  return columns.map((column, index) => {
    if (exact[index] >= 0) return [exact[index]];
    const found = range(names.length).filter((place) => !taken.has(place) && loosen(names[place]) === loosen(column));
    if (found.length === 1) taken.add(found[0]);
    return found;
  });
}

const BLANKS = /^[\p{Cc}\p{Cf}\p{Mn}\p{Zl}\p{Zp}\p{Zs}\u115f\u1160\u2800\u3164\uffa0]+/u;
const PLAIN = /^\s*[-+\u2212]?[\d.,]*\d[\d.,]*(e[-+]?\d+)?\s*%?$/i;

/** Return lines of cells as a CSV, texts in quotation marks; those that a spreadsheet would take for a formula begin with an
 * apostrophe. */
export function writeCsv(lines, delimiter = ",") {
  const quote = (cell) => `"${needsEscape(cell) ? "'" : ""}${cell.replaceAll('"', '""')}"`;
  const write = (cell) => (typeof cell === "number" ? String(cell) : quote(String(cell)));
  return lines.map((cells) => cells.map(write).join(delimiter)).join("\n");
}

/** Return whether a text may be read as a formula, or looks as if it already had an apostrophe for that. */
function needsEscape(cell) {
  const bare = cell.replace(/^'+/, "");
  const [first = ""] = bare.replace(BLANKS, "");
  const begins = /^[=+\-@\u2212]/.test(first.normalize("NFKC"));
  return (/^[\t\r\n]/.test(bare) || begins) && !(bare.length <= 64 && PLAIN.test(bare));
}

/** Return a cell as it was before writeCsv. */
function readEscaped(cell) {
  return cell.startsWith("'") && needsEscape(cell.slice(1)) ? cell.slice(1) : cell;
}
