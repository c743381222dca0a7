// The text with the word, or the sentence, that is being spoken lit. The server counts characters as code points.

import { make } from "./dom.js";

const LINGER_S = 0.3; // a word stays lit through the small gap before the next one

export class Words {
  constructor(place) {
    this.place = place;
  }

  begin(text) {
    this.characters = Array.from(text);
    this.marks = []; // {element, startS, endS}, in the order they are spoken
    this.shown = 0; // characters that stand before `rest`
    this.now = -1;
    this.rest = document.createTextNode(text);
    this.place.replaceChildren(this.rest);
    this.place.scrollTop = 0;
  }

  /** Times of a sentence of the text, or of its words. */
  add(sentence) {
    for (const part of sentence.words.length ? sentence.words : [sentence]) this.#mark(part);
    this.rest.data = this.#text(this.shown, this.characters.length);
  }

  #mark({ start, end, start_s: startS, end_s: endS }) {
    if (start < this.shown) return; // a long sentence comes in several parts
    const element = make("span", { className: "word" }, this.#text(start, end));
    this.rest.before(this.#text(this.shown, start), element);
    this.marks.push({ element, startS, endS });
    this.shown = end;
  }

  #text(start, end) {
    return this.characters.slice(start, end).join("");
  }

  /** Lights what is spoken `positionS` seconds from the start. */
  light(positionS) {
    while (this.now + 1 < this.marks.length && this.marks[this.now + 1].startS <= positionS) {
      this.marks[this.now]?.element.classList.replace("now", "said");
      this.now += 1;
      const { element } = this.marks[this.now];
      element.classList.add("now");
      this.#scrollTo(element);
    }
    const lit = this.marks[this.now];
    if (lit && positionS > lit.endS + LINGER_S) lit.element.classList.replace("now", "said");
  }

  end() {
    this.marks[this.now]?.element.classList.replace("now", "said");
  }

  #scrollTo(element) {
    const below = element.offsetTop + element.offsetHeight - this.place.offsetTop;
    if (below > this.place.scrollTop + this.place.clientHeight) {
      this.place.scrollTop = below - this.place.clientHeight / 2;
    }
  }
}
