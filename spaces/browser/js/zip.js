// Write a zip without compression, which pictures do not need.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});
const crc32 = (bytes) => ~bytes.reduce((crc, byte) => TABLE[(crc ^ byte) & 255] ^ (crc >>> 8), -1) >>> 0;

/** Return the bytes of little-endian numbers, given as [value, size in bytes]. */
const pack = (...numbers) =>
  Uint8Array.from(numbers.flatMap(([value, size]) => Array.from({ length: size }, (_, index) => (value / 256 ** index) & 255)));

/**
 * Return a zip.
 * @param {[string, Uint8Array][]} files - paths and contents
 * @returns {Blob}
 */
export function makeZip(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [path, content] of files) {
    const name = new TextEncoder().encode(path);
    const [flags, date, size] = [0x0800, 0x21, content.length]; // UTF-8; 1 January 1980
    const common = [[20, 2], [flags, 2], [0, 2], [0, 2], [date, 2], [crc32(content), 4], [size, 4], [size, 4], [name.length, 2], [0, 2]];
    const head = pack([0x04034b50, 4], ...common);
    parts.push(head, name, content);
    directory.push(pack([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), name);
    offset += head.length + name.length + size;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = pack([0x06054b50, 4], [0, 4], [files.length, 2], [files.length, 2], [length, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
