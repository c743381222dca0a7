// Reads multipart/mixed as it arrives. Every part of this server states its Content-Length.

const CRLF2 = [13, 10, 13, 10];

export class MultipartReader {
  /** Whether the closing boundary has come. */
  complete = false;

  /** Throws if `contentType` is not multipart with a boundary. */
  constructor(contentType) {
    const found = /^multipart\/mixed; *boundary="?([^";]+)"?/.exec(contentType ?? "");
    if (!found) throw new Error(`multipart/mixed was expected, not ${contentType}`);
    this.last = `--${found[1]}--`;
    this.held = new Uint8Array(0);
  }

  /** The parts {type, content} that are whole with these bytes. */
  feed(bytes) {
    const all = new Uint8Array(this.held.length + bytes.length);
    all.set(this.held);
    all.set(bytes, this.held.length);
    const parts = [];
    let at = 0;
    for (;;) {
      const end = headEnd(all, at);
      if (end < 0) break;
      const head = new TextDecoder().decode(all.subarray(at, end));
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1]);
      const type = /^content-type: *([^;\r\n]+)/im.exec(head)?.[1].trim();
      if (!Number.isFinite(length)) throw new Error("a part without Content-Length");
      const next = end + length + 2; // the line end after the content
      if (next > all.length) break;
      parts.push({ type, content: all.subarray(end, end + length) });
      at = next;
    }
    this.held = all.slice(at);
    const tail = new TextDecoder().decode(this.held.subarray(0, this.last.length));
    this.complete = tail === this.last;
    return parts;
  }
}

/** Where the content after the head that begins at `from` begins; -1 if the head is not whole yet. */
function headEnd(bytes, from) {
  for (let at = from; at + 4 <= bytes.length; at += 1) {
    if (CRLF2.every((byte, i) => bytes[at + i] === byte)) return at + 4;
  }
  return -1;
}
